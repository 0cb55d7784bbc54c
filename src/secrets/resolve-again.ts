/**
 * Looks whether the backends have something else than what is in use. Only what may have changed is fetched: not what
 * a lease keeps alive, and not what has the same version. Nothing comes from the cache.
 */

import type { Lease } from "./provider.ts";
import type { Resolution, ResolveRequest } from "./resolution.ts";
import { resolveSecrets } from "./resolve.ts";
import type { VersionChecks } from "./version-checks.ts";

export { VersionChecks } from "./version-checks.ts";

/**
 * Undefined if nothing had to be fetched: then nothing has changed. Else everything anew, its values maybe equal; the
 * leases that stay in use are shared, and the caller releases either this one or the one before. Rejects as
 * resolveSecrets does; then what is in use is as it was. Whatever was lent meanwhile is given back before it settles.
 *
 * @param inUse not yet released
 * @param ending leases that need a successor
 * @param checks the same one at each refresh
 */
export async function resolveAgain(
  request: ResolveRequest,
  inUse: Resolution,
  ending: ReadonlySet<Lease>,
  checks: VersionChecks,
): Promise<Resolution | undefined> {
  // The servers may end meanwhile.
  const held = inUse.held.share();
  try {
    const before = { documents: inUse.documents, held, ending, checks };
    const after = await resolveSecrets({ ...request, inUse: before });
    if (!isSame(before.documents, after.documents)) return after;
    // That it is still good is news to the cache.
    after.held.started();
    await after.held.release();
    return undefined;
  } finally {
    await held.release();
  }
}

/**
 * The names of the secrets whose value differs, that are new, or that have gone. Compares in constant time for values
 * of equal length.
 */
export function changedSecrets(
  before: Pick<Resolution, "secrets">,
  after: Pick<Resolution, "secrets">,
): readonly string[] {
  const left = new Map(before.secrets.map(({ name, value }) => [name, value]));
  const changed: string[] = [];
  for (const { name, value } of after.secrets) {
    if (!left.get(name)?.equals(value)) changed.push(name);
    left.delete(name);
  }
  return [...changed, ...left.keys()];
}

/** A document that was not fetched is the same object. */
function isSame(before: Resolution["documents"], after: Resolution["documents"]): boolean {
  return before.size === after.size && [...before].every(([ref, document]) => after.get(ref) === document);
}

/**
 * Counts who uses what a fetch leaves behind:
 *
 *   Held --> the fetch ---------+--> its backends
 *     +----> each of its leases-+
 *     +----> each lease of a fetch before that is still in use --> the backends of that fetch
 */
import type { CacheKeeping } from "./cache-keeping.ts";
import { Held } from "./held.ts";
import { LeaseKeeper, type LeaseKeeperOptions } from "./lease-keeper.ts";
import type { Lease } from "./provider.ts";
import type { ProviderPool } from "./provider-pool.ts";
import type { Resolution } from "./resolution.ts";
import { Shared } from "./shared.ts";

export interface Fetched {
  readonly pool: ProviderPool;
  readonly keeping: CacheKeeping | undefined;
  /** Who held what the fetch did not ask for again. */
  readonly before: Held | undefined;
}

/** From now on the leases of these documents are kept, those of a fetch before included. */
export function hold(
  { pool, keeping, before }: Fetched,
  { documents, secrets }: Pick<Resolution, "documents" | "secrets">,
  { onEnding, ...options }: LeaseKeeperOptions,
): Held {
  const used = new Set([...documents.values()].flatMap(({ lease }) => lease ?? []));
  const isLender = [...used].some((lease) => pool.hasLent(lease));
  // What the settings of a backend have borrowed is of use for as long as the backend is.
  const ofBackends: LeaseKeeper[] = [];
  const backends = new Shared(async () => {
    await Promise.all(ofBackends.map((keeper) => keeper.revoke()));
    await pool.close();
  });
  const leases = new Map<Lease, Shared>();
  for (const [lease, origin] of isLender ? pool.takeLeases() : []) {
    const names = secrets.filter((secret) => secret.lease === lease).map(({ name }) => name);
    if (!used.has(lease)) {
      ofBackends.push(new LeaseKeeper(lease, origin, options));
      continue;
    }
    const keeper = new LeaseKeeper(
      lease,
      { ...origin, names },
      { ...options, ...(onEnding && { onEnding }) },
    );
    backends.share();
    leases.set(
      lease,
      new Shared(async () => {
        await keeper.revoke();
        await backends.giveUp();
      }),
    );
  }
  for (const lease of used) {
    const claim = leases.has(lease) ? undefined : before?.shareLease(lease);
    if (claim) leases.set(lease, claim);
  }
  // A backend that is slower than the cache may still say something worth keeping.
  if (!isLender) void (keeping ? keeping.settled().then(() => pool.close()) : pool.close());
  const fetched = new Shared(async () => {
    await keeping?.finish();
    await backends.giveUp();
  });
  return new Held({ fetched, leases, keeping });
}

/** The latest version of a secret, and what a new one takes over from it. */
import { AzureError } from "./azure-error.ts";
import { type Tags, withOwners } from "./marks.ts";
import type { StoredVersion } from "./stored-version.ts";
import type { Attributes, VaultClient } from "./vault-client.ts";

/**
 * A get, which names exactly the version that a fetch would: one request, and no further permission. (A list of
 * versions has 25 a request, needs `list`, and can't tell two versions of one second apart.) Only a latest version
 * that is disabled, whose value nobody gets, is looked up in the list: a leaked secret that somebody has switched
 * off by hand must still be replaceable. Undefined where there is no such secret.
 */
export async function currentOf(
  client: VaultClient,
  name: string,
  signal: AbortSignal,
): Promise<StoredVersion | undefined> {
  try {
    return await client.get(name, undefined, signal);
  } catch (error) {
    if (!(error instanceof AzureError)) throw error;
    if (error.failure === "missing") return undefined;
    if (error.serviceCode !== "SecretDisabled") throw error;
    const newest = [...(await client.versions(name, signal))]
      .filter(({ isEnabled }) => !isEnabled)
      .sort((a, b) => (b.createdAt?.getTime() ?? 0) - (a.createdAt?.getTime() ?? 0))[0];
    if (!newest) throw error;
    return newest;
  }
}

/**
 * Content type and tags as they were. A date of expiry belongs to the old value; where there was one, the new value
 * gets as long a life as the old one had, from now.
 *
 * @param now ms since the epoch
 */
export function attributesAfter(before: StoredVersion | undefined, marks: Tags, now: number): Attributes {
  if (!before) return { tags: { ...marks } };
  if (before.isCertificate) {
    throw new AzureError("invalid", `${before.name} belongs to a certificate, which alone can renew it`, {
      hint: `az keyvault certificate create --name ${before.name}, with the certificate's policy`,
    });
  }
  const { contentType, createdAt, expiresAt } = before;
  const life = createdAt && expiresAt ? expiresAt.getTime() - createdAt.getTime() : 0;
  return {
    ...(contentType !== undefined && { contentType }),
    tags: withOwners(before.tags, marks),
    ...(life > 0 && { expiresOn: new Date(now + life) }),
  };
}

/** Everything as that version has it: for a value that comes back. */
export function attributesOf({ contentType, tags, expiresAt }: StoredVersion, marks: Tags): Attributes {
  return {
    ...(contentType !== undefined && { contentType }),
    ...(expiresAt && { expiresOn: expiresAt }),
    tags: withOwners(tags, marks),
  };
}

/**
 * Whose secret it is, where its place says that by whichever way it was reached: the account of an ARN, or the name of a
 * vault of Azure, which nobody else in the world has. What lies in two realms is never one secret; an address of Vault
 * says nothing of the kind, since many can lead to one.
 */
import { createHash } from "node:crypto";

/** AWS, «Reference AWS resources by ARN». A replica in another region is the same secret. */
const ACCOUNT = /^arn:([a-z-]+):secretsmanager:[a-z\d-]+:(\d{12}):/;
/** Microsoft, «Azure Key Vault keys, secrets and certificates overview»: DNS suffixes for object identifiers. */
const VAULT = /^https:\/\/([a-z\d-]+\.vault\.(?:azure\.net|azure\.cn|usgovcloudapi\.net))\//;

/** A name for it, by which only who knows the account or the vault can tell it; undefined where the place does not say. */
export function realmOf(place: string | undefined): string | undefined {
  const [account, vault] = [ACCOUNT.exec(place ?? ""), VAULT.exec(place ?? "")];
  const realm = account ? `${account[1]} ${account[2]}` : vault?.[1];
  return realm && createHash("sha256").update(realm).digest("base64url").slice(0, 22);
}

/** Also where one of them is not known. */
export function mayBeSameRealm(one: string | undefined, other: string | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}

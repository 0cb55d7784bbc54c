/** One version of a secret as Key Vault keeps it, and what of it may be used. */
import type { SecretProperties } from "@azure/keyvault-secrets";
import { ProviderError } from "../../src/errors.ts";
import type { FetchedSecret } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";

export interface StoredVersion {
  readonly name: string;
  readonly version: string;
  readonly isEnabled: boolean;
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
  readonly notBefore: Date | undefined;
  readonly expiresAt: Date | undefined;
  readonly contentType: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  /** True for the secret that belongs to a certificate: only the certificate can be changed. */
  readonly isCertificate: boolean;
}

export interface ValuedVersion extends StoredVersion {
  readonly value: Secret;
}

/** Throws TypeError for an answer without a version, which is none of Key Vault's. */
export function storedVersion(properties: SecretProperties): StoredVersion {
  if (typeof properties.version !== "string" || properties.version === "") throw new TypeError("no version");
  return {
    name: properties.name,
    version: properties.version,
    isEnabled: properties.enabled ?? true,
    createdAt: date(properties.createdOn),
    updatedAt: date(properties.updatedOn),
    notBefore: date(properties.notBefore),
    expiresAt: date(properties.expiresOn),
    contentType: properties.contentType,
    tags: properties.tags ?? {},
    isCertificate: (properties.managed ?? false) || properties.certificateKeyId !== undefined,
  };
}

export function valuedVersion(value: string | undefined, properties: SecretProperties): ValuedVersion {
  if (typeof value !== "string") throw new TypeError("no value");
  return { ...storedVersion(properties), value: new Secret(value) };
}

/**
 * What a profile gets of it. Key Vault hands out a value whatever its dates say, so they are kept here.
 *
 * @param now ms since the epoch
 */
export function usable(
  found: ValuedVersion,
  now: number,
  ignoreDates: boolean,
): FetchedSecret | ProviderError {
  const { name, version, value, createdAt, notBefore, expiresAt } = found;
  const fetched = { value, version, ...(createdAt && { createdAt }) };
  // An expiry that nobody keeps would only make the schedule ask again and again.
  if (ignoreDates) return fetched;
  if (notBefore && notBefore.getTime() > now) {
    return new ProviderError(
      "invalid",
      `version ${version} of ${name} is valid only from ${said(notBefore)}`,
      {
        hint: "an earlier version:, or ignoreDates: true in the provider's settings",
      },
    );
  }
  if (expiresAt && expiresAt.getTime() <= now) {
    return new ProviderError("invalid", `version ${version} of ${name} has expired on ${said(expiresAt)}`, {
      hint: `a new value in ${name}, or ignoreDates: true in the provider's settings`,
    });
  }
  return { ...fetched, ...(expiresAt && { expiresAt }) };
}

/** A time in an error: to the second, as Key Vault keeps it. */
export function said(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** Undefined too for a date that was none in the answer. */
function date(found: Date | undefined): Date | undefined {
  return found instanceof Date && !Number.isNaN(found.getTime()) ? found : undefined;
}

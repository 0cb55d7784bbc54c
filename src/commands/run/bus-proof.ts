/** By what a supervisor proves to its fleet which value its server has, and by which lease, without the value. */
import { fingerprintOf, jointFingerprint } from "../../control/fingerprint.ts";
import { ProviderError } from "../../errors.ts";
import { pickField } from "../../secrets/field.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";

/**
 * Undefined where a profile has a secret twice and in two versions, since neither speaks for both, and for a document
 * that lacks a field that is asked for.
 *
 * @param secrets all of one key on the bus
 * @param ways to the fields that are meant; without them the whole value is
 */
export function proofOf(
  secrets: readonly ResolvedSecret[] | undefined,
  key: Buffer,
  ways: readonly (readonly string[])[] | undefined,
): string | undefined {
  const [first, ...others] = secrets ?? [];
  if (!first || others.some(({ value }) => !value.equals(first.value))) return undefined;
  if (!ways) return fingerprintOf(first.value.reveal(), key);
  const fields = ways.map((way) => pickField(first.value, way));
  const revealed = fields.map((field) => (field instanceof ProviderError ? undefined : field.reveal()));
  return revealed.every((text) => text !== undefined)
    ? jointFingerprint(
        revealed.map((text) => fingerprintOf(text, key)),
        key,
      )
    : undefined;
}

/** Ids of all leases by which the server has it; undefined where it has some of it by none, or by one without a name. */
export function leasesOf(secrets: readonly ResolvedSecret[] | undefined): readonly string[] | undefined {
  const ids = secrets?.map(({ lease }) => lease?.id?.());
  return ids?.every((id) => id !== undefined) ? [...new Set(ids)] : undefined;
}

/**
 * Which of a supervisor's secrets a message means: by the place where they lie, by their refs, or by their value. A
 * server that has all of a document has each field of it.
 */
import { fingerprintOf } from "../../control/fingerprint.ts";
import { keyOf, type Request } from "../../control/protocol.ts";
import { ProviderError } from "../../errors.ts";
import { pickField } from "../../secrets/field.ts";
import { type SecretName, wayWithin } from "../../secrets/identity.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { Secret } from "../../secrets/secret.ts";

export type Meant = Partial<Pick<Request<"refresh">, "refs" | "places" | "values" | "key">>;

/** What to call this secret in the answer, and the value that is meant; undefined if it is none that is asked for. */
export function meantBy(
  secret: ResolvedSecret,
  { values = [], key, ...names }: Meant,
): { readonly ref: string; readonly value: Secret; readonly isCopy?: true } | undefined {
  const named = namedIn(secret, names);
  if (named) {
    const value = named.way.length === 0 ? secret.value : pickField(secret.value, named.way);
    // A document of which the server has all may lack a field that it is to get.
    return { ref: named.ref, value: value instanceof ProviderError ? secret.value : value };
  }
  if (key === undefined || !values.includes(fingerprint(secret.value, key))) return undefined;
  return { ref: secret.from, value: secret.value, isCopy: true };
}

/** What the asker calls it, or the part of it that is meant, and the way to that. */
export function namedIn(
  secret: SecretName,
  { refs = [], places = [] }: Meant,
): { readonly ref: string; readonly way: readonly string[] } | undefined {
  for (const [index, ref] of refs.entries()) {
    const way = wayWithin(secret, { from: ref, place: places[index] ?? undefined });
    if (way) return { ref, way };
  }
  return undefined;
}

/** @param key of the request */
export function fingerprint(value: Secret, key: string): string {
  return fingerprintOf(value.reveal(), keyOf(key));
}

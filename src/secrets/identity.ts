/** Which secret is meant: by the place where it really lies, since two profiles may call one backend by two names. */
import { parseRef } from "./ref.ts";

export interface SecretName {
  /** As the profile has it: `vault:mcp/github#token`. */
  readonly from: string;
  /** Where its document lies, as FetchedSecret has it; undefined where nobody knows. */
  readonly place?: string | undefined;
}

/** One text for one value, whatever a profile calls its backend: the place and the field; else the ref itself. */
export function identityOf({ from, place }: SecretName): string {
  if (place === undefined) return from;
  const parsed = parseRef(from);
  return `${withoutRegion(place)}#${parsed.ok ? JSON.stringify(parsed.ref.field ?? []) : from}`;
}

/** By their places; where one of them is not known, by the words of the profiles. */
export function isSameSecret(one: SecretName, other: SecretName): boolean {
  const hasPlaces = one.place !== undefined && other.place !== undefined;
  return hasPlaces ? identityOf(one) === identityOf(other) : one.from === other.from;
}

/** One value, for whoever reads it from a replica too: the ARNs differ in the region alone. AWS, «Replicate secrets». */
function withoutRegion(place: string): string {
  return place.replace(/^(arn:[a-z-]+:secretsmanager:)[a-z\d-]+:/, "$1*:");
}

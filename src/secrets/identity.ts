/** Which secret is meant: by the place where it really lies, since two profiles may call one backend by two names. */
import { parseRef } from "./ref.ts";
import type { Ref } from "./spec.ts";

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

/**
 * The way to the inner value within the outer one, which has all of the inner one's document or a field around it:
 * `[]` if they are the same. Undefined if the outer one does not hold the inner one.
 */
export function wayWithin(outer: SecretName, inner: SecretName): readonly string[] | undefined {
  if (isSameSecret(outer, inner)) return [];
  return holdersOf(inner).find(({ name }) => isSameSecret(outer, name))?.way;
}

/** What holds this value within it, the whole document first, and the way from there: see `wayWithin`. */
export function holdersOf(inner: SecretName): readonly { name: SecretName; way: readonly string[] }[] {
  const parsed = parseRef(inner.from);
  if (!parsed.ok) return [];
  const { ref } = parsed;
  const { field = [] } = ref;
  return field.map((_step, depth) => ({
    name: { ...inner, from: depth === 0 ? documentOf(ref) : fieldRef(ref, field.slice(0, depth)) },
    way: field.slice(depth),
  }));
}

/** What lies this way within it, as a profile would name it; undefined where no ref can. */
export function nameWithin(outer: SecretName, way: readonly string[]): SecretName | undefined {
  const parsed = parseRef(outer.from);
  if (!parsed.ok) return undefined;
  const field = [...(parsed.ref.field ?? []), ...way];
  const from = fieldRef(parsed.ref, field);
  const again = parseRef(from);
  const isWhatIsMeant = again.ok && JSON.stringify(again.ref.field) === JSON.stringify(field);
  return isWhatIsMeant ? { ...outer, from } : undefined;
}

function fieldRef(ref: Ref, field: readonly string[]): string {
  return `${documentOf(ref)}#${field.map((step) => step.replaceAll(".", "\\.")).join(".")}`;
}

function documentOf({ provider, request }: Ref): string {
  return `${provider}:${request.path.replaceAll("#", "\\#")}`;
}

/** One value, for whoever reads it from a replica too: the ARNs differ in the region alone. AWS, «Replicate secrets». */
function withoutRegion(place: string): string {
  return place.replace(/^(arn:[a-z-]+:secretsmanager:)[a-z\d-]+:/, "$1*:");
}

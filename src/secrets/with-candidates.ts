/**
 * What the backends gave, with values in it that are only to be tried: each is put into its document, and whatever
 * else is made of that document (other fields' names, templates, files) sees it there.
 */
import { isDeepStrictEqual } from "node:util";
import { ProviderError } from "../errors.ts";
import type { Answer } from "./answer.ts";
import { pickField, replaceField } from "./field.ts";
import type { ResolveRequest } from "./resolution.ts";
import { Secret } from "./secret.ts";
import type { Ref } from "./spec.ts";

interface Place {
  readonly ref: Ref;
  /** Undefined for the whole value. */
  readonly field: readonly string[] | undefined;
}

/** What stands for a document that nobody has made yet. */
const EMPTY = new Secret("{}");

/**
 * The same answers with `request.candidates` in their places. One that no ref gives is passed over: then its name is
 * nobody's, or a template's. What can't be put in place makes its document a failure.
 */
export function withCandidates(answers: ReadonlyMap<Ref, Answer>, request: ResolveRequest): Map<Ref, Answer> {
  const changed = new Map(answers);
  for (const [name, value] of request.candidates ?? []) {
    const place = placeOf(name, request, answers);
    const answer = place && changed.get(place.ref);
    if (!place || !answer) continue;
    const next = put(answer, place, value);
    for (const ref of answers.keys()) if (isSameDocument(ref, place.ref)) changed.set(ref, next);
  }
  return changed;
}

function put(answer: Answer, { field }: Place, value: Secret): Answer {
  if (!field) return { value };
  const isMissing = answer instanceof ProviderError && answer.failure === "missing";
  if (answer instanceof ProviderError && !isMissing) return answer;
  const document = replaceField(answer instanceof ProviderError ? EMPTY : answer.value, field, value);
  return document instanceof ProviderError ? document : { value: document };
}

function placeOf(
  name: string,
  { secrets, secretsFrom }: ResolveRequest,
  answers: ReadonlyMap<Ref, Answer>,
): Place | undefined {
  const spec = secrets.find((candidate) => candidate.name === name);
  if (spec) return spec.source.type === "ref" ? { ...spec.source, field: spec.source.ref.field } : undefined;
  const places = secretsFrom
    .filter(
      ({ prefix, only }) => name.startsWith(prefix) && (only?.includes(name.slice(prefix.length)) ?? true),
    )
    .map(({ ref, prefix }) => ({ ref, field: [...(ref.field ?? []), name.slice(prefix.length)] }));
  const hasIt = ({ ref, field }: Place) => {
    const answer = answers.get(ref);
    return (
      answer &&
      field &&
      !(answer instanceof ProviderError || pickField(answer.value, field) instanceof ProviderError)
    );
  };
  return places.find(hasIt) ?? places[0];
}

function isSameDocument(one: Ref, other: Ref): boolean {
  return one.provider === other.provider && isDeepStrictEqual(one.request, other.request);
}

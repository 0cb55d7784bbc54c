/** A target's store out of a provider, and the documents that are made of old and new values. */
import { ProviderError } from "../errors.ts";
import { pickField, replaceField } from "../secrets/field.ts";
import type { FetchedSecret, RotatableStore } from "../secrets/provider.ts";
import { Secret } from "../secrets/secret.ts";
import type { Target, TargetPart, TargetStore } from "./contract.ts";

/**
 * @param ref to the whole document, without a version
 * @param versioned the same with that version; without it `{ ...ref, version }`, as every refSchema has it
 */
export function targetStore<Ref extends object>(
  store: RotatableStore<Ref>,
  ref: Ref,
  versioned: (version: string) => Ref = (version) => ({ ...ref, version }),
): TargetStore {
  return {
    async read(signal) {
      const present = await fetchOne(store, ref, signal);
      if (!present || present.version !== undefined) return present;
      // A store may name versions from the first time that it is asked for one.
      await store.currentVersion(ref, signal);
      return fetchOne(store, ref, signal);
    },
    readVersion: (version, signal) => fetchOne(store, versioned(version), signal),
    mustBeWritable: async (signal) => store.mustBeWritable?.(ref, signal),
    findCandidate: (signal) => store.findCandidate(ref, signal),
    putCandidate: (value, mark, signal) => store.putCandidate(ref, value, mark, signal),
    fetchCandidate: (rotationId, signal) => store.fetchCandidate(ref, rotationId, signal),
    promote: (rotationId, planned, signal) => store.promote(ref, rotationId, planned, signal),
    discard: (rotationId, signal) => store.discard(ref, rotationId, signal),
    restore: (version, planned, signal) => store.restore(ref, version, planned, signal),
    retire: (version, signal) => store.retire(ref, version, signal),
    remove: (version, signal) => store.takeAway?.(ref, version, signal) ?? store.remove(ref, signal),
  };
}

async function fetchOne<Ref>(
  store: RotatableStore<Ref>,
  ref: Ref,
  signal: AbortSignal,
): Promise<FetchedSecret | undefined> {
  const answer = (await store.fetch([ref], signal)).get(ref);
  if (answer instanceof ProviderError && answer.failure === "missing") return undefined;
  if (!answer || answer instanceof ProviderError) {
    throw answer ?? new ProviderError("invalid", "the provider gave no answer for it");
  }
  return answer;
}

/** The part's value in the document; undefined where there is none yet. Throws ProviderError `invalid`. */
export function partValue(
  { field }: Pick<TargetPart, "field">,
  document: Secret | undefined,
): Secret | undefined {
  if (!document || !field) return document;
  const value = pickField(document, field);
  if (!(value instanceof ProviderError)) return value;
  if (value.failure === "missing") return undefined;
  throw value;
}

/** The document with these parts new; with one part without a field, its value. Throws ProviderError. */
export function documentWith(
  { parts }: Target,
  values: ReadonlyMap<string, Secret>,
  base: Secret | undefined,
): Secret {
  let document = base ?? new Secret("{}");
  for (const { name, field } of parts) {
    const value = values.get(name);
    if (!value) throw new Error(`${name} has no new value`);
    if (!field) return value;
    const next = replaceField(document, field, value);
    if (next instanceof ProviderError) throw next;
    document = next;
  }
  return document;
}

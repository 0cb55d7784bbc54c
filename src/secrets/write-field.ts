/** Writes one field of a document: the whole document again, over the very version that was read. */
import { ProviderError } from "../errors.ts";
import { replaceField } from "./field.ts";
import type { FetchedSecret, SecretStore } from "./provider.ts";
import { Secret } from "./secret.ts";

/** How often a write is begun; after that somebody else is writing all the time. */
const TRIES = 2;

/**
 * A document that is not there is made. Begins once more, from the new document, if somebody else was faster.
 *
 * @param mayReplace is asked with what is there before each try; throws to stop. Undefined: there is no document
 */
export async function writeField<Ref>(
  store: SecretStore<Ref>,
  ref: Ref,
  field: readonly string[],
  value: Secret,
  signal: AbortSignal,
  mayReplace: (document: Secret | undefined) => void = () => undefined,
): Promise<{ readonly version?: string }> {
  for (let tries = 1; ; tries++) {
    const present = await readVersioned(store, ref, signal);
    mayReplace(present?.value);
    const document = replaceField(present?.value ?? new Secret("{}"), field, value);
    if (document instanceof ProviderError) throw document;
    try {
      return await store.put(ref, document, signal, { version: present?.version });
    } catch (error) {
      const isConflict = error instanceof ProviderError && error.failure === "conflict";
      if (!isConflict || tries >= TRIES) throw error;
    }
  }
}

async function readVersioned<Ref>(
  store: SecretStore<Ref>,
  ref: Ref,
  signal: AbortSignal,
): Promise<FetchedSecret | undefined> {
  const read = async () => (await store.fetch([ref], signal)).get(ref);
  let present = await read();
  if (present && !(present instanceof ProviderError) && present.version === undefined) {
    // A store may name versions from the first time that it is asked for one.
    await store.currentVersion?.(ref, signal);
    present = await read();
  }
  if (present instanceof ProviderError && present.failure === "missing") return undefined;
  if (!present || present instanceof ProviderError) {
    throw present ?? new ProviderError("invalid", "the provider gave no answer for it");
  }
  if (present.version !== undefined) return present;
  throw new ProviderError("invalid", "this store has no versions, so one field can't be changed safely", {
    hint: "writing the whole value",
  });
}

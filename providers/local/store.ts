/**
 * The store as the rest of mcp-run sees it. Only `fetch` and `list` are on the way of a launch; what writes is
 * loaded when it is called for.
 */
import { ProviderError } from "../../src/errors.ts";
import type {
  FetchedSecret,
  ProviderContext,
  Recipient,
  RecipientStore,
  SecretStore,
  StoredEntry,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { StoreArchive } from "./archive.ts";
import {
  currentVersion,
  emptyDocument,
  entryOf,
  newVersion,
  type StoreDocument,
  withoutEntry,
  withVersion,
} from "./document.ts";
import { IdentityKey } from "./identity-key.ts";
import { PassphraseKey } from "./passphrase-key.ts";
import { type LocalSettings, placesOf } from "./places.ts";
import type { StoreKey } from "./store-key.ts";

export interface LocalRef {
  readonly path: string;
  /** The id of a version that is still kept; without it the current one. */
  readonly version?: string | undefined;
}

export class LocalStore implements SecretStore<LocalRef>, RecipientStore {
  readonly #context: ProviderContext;
  readonly #file: string;
  readonly #key: StoreKey;
  readonly #archive: StoreArchive;

  constructor(settings: LocalSettings, context: ProviderContext) {
    const places = placesOf(settings, context);
    this.#context = context;
    this.#file = places.store;
    this.#key =
      settings.passphrase === undefined
        ? new IdentityKey({ settings, places, context })
        : new PassphraseKey(settings.passphrase, places, context);
    this.#archive = new StoreArchive(places, this.#key, context.clock);
  }

  async fetch(
    refs: readonly LocalRef[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<LocalRef, FetchedSecret | ProviderError>> {
    const opened = await this.#archive.read(signal);
    const answer = new Map<LocalRef, FetchedSecret | ProviderError>();
    for (const ref of refs) answer.set(ref, await this.#pick(ref, opened?.document));
    return answer;
  }

  async put(ref: LocalRef, value: Secret, signal: AbortSignal): Promise<{ readonly version: string }> {
    refuseVersion(ref);
    const version = newVersion(value.reveal(), this.#context.clock.now());
    return this.#archive.rewrite(signal, async (current) => ({
      write: {
        document: withVersion(current?.document ?? emptyDocument(), ref.path, version),
        seal: await this.#key.sealAfter(current?.header, signal),
      },
      result: { version: version.id },
    }));
  }

  async remove(ref: LocalRef, signal: AbortSignal): Promise<boolean> {
    refuseVersion(ref);
    // Asked without the lock first: removing nothing must not need a directory that can be written.
    const before = await this.#archive.read(signal);
    if (!before || !entryOf(before.document, ref.path)) return false;
    return this.#archive.rewrite(signal, async (current) => {
      if (!current || !entryOf(current.document, ref.path)) return { result: false };
      return {
        write: {
          document: withoutEntry(current.document, ref.path),
          seal: await this.#key.sealAfter(current.header, signal),
        },
        result: true,
      };
    });
  }

  async list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    const entries = Object.entries((await this.#archive.read(signal))?.document.entries ?? {});
    return entries
      .map(([path, entry]) => {
        const version = currentVersion(entry);
        return { path, ...(version && { version: version.id, updatedAt: new Date(version.createdAt) }) };
      })
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async recipients(): Promise<readonly Recipient[]> {
    const key = this.#identityKey();
    return (await import("./team.ts")).listRecipients(key.search, new AbortController().signal);
  }

  async addRecipient(publicKey: string, label: string | undefined, signal: AbortSignal): Promise<void> {
    const key = this.#identityKey();
    const recipient = { publicKey, ...(label !== undefined && { label }) };
    await (await import("./team.ts")).addRecipient(key.search, this.#archive, recipient, signal);
  }

  async removeRecipient(publicKeyOrLabel: string, signal: AbortSignal): Promise<boolean> {
    const key = this.#identityKey();
    return (await import("./team.ts")).removeRecipient(key.search, this.#archive, publicKeyOrLabel, signal);
  }

  async rekey(signal: AbortSignal): Promise<{ readonly mustRotate: readonly string[] }> {
    const key = this.#identityKey();
    return (await import("./team.ts")).rekey(key.search, this.#archive, signal);
  }

  async close(): Promise<void> {
    // Nothing is held open between two calls.
  }

  async #pick(ref: LocalRef, document: StoreDocument | undefined): Promise<FetchedSecret | ProviderError> {
    const entry = document && entryOf(document, ref.path);
    if (!entry) return this.#missing(ref.path, document);
    const id = ref.version ?? entry.current;
    const version = entry.versions.find((candidate) => candidate.id === id);
    if (!version) {
      const kept = entry.versions.map((candidate) => candidate.id).join(", ");
      return new ProviderError("missing", `${ref.path} has no version "${id}" in ${this.#file}`, {
        hint: `one of the versions that are kept: ${kept}`,
      });
    }
    return { value: new Secret(version.value), version: id, createdAt: new Date(version.createdAt) };
  }

  async #missing(name: string, document: StoreDocument | undefined): Promise<ProviderError> {
    const set = `mcp-run secrets set ${this.#context.name}:${name}`;
    if (!document) {
      return new ProviderError("missing", `there is no store yet at ${this.#file}`, { hint: set });
    }
    const { nearest } = await import("../../src/nearest.ts");
    const near = nearest(name, Object.keys(document.entries));
    return new ProviderError("missing", `there is no entry "${name}" in ${this.#file}`, {
      hint: near === undefined ? set : `${this.#context.name}:${near}, which is there, or ${set}`,
    });
  }

  #identityKey(): IdentityKey {
    if (this.#key instanceof IdentityKey) return this.#key;
    throw new ProviderError(
      "invalid",
      `${this.#file} is encrypted with a passphrase, so it has no recipients`,
      {
        hint: `removing passphrase: from the settings of ${this.#context.name} for a store with keys`,
      },
    );
  }
}

function refuseVersion(ref: LocalRef): void {
  if (ref.version === undefined) return;
  throw new ProviderError("invalid", "a version can't be written or removed by itself", {
    hint: "the same without version:",
  });
}

/**
 * The store as the rest of mcp-run sees it. Only `fetch` and `list` are on the way of a launch; what writes is
 * loaded when it is called for.
 */
import { ProviderError } from "../../src/errors.ts";
import {
  type Candidate,
  type CandidateMark,
  type FetchedSecret,
  type ProviderContext,
  placeAt,
  type Recipient,
  type RecipientStore,
  type RotatableStore,
  type StoredEntry,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { StoreArchive } from "./archive.ts";
import {
  currentVersion,
  emptyDocument,
  entryOf,
  newVersion,
  type StoreDocument,
  type StoredVersion,
  versionOf,
  withoutEntry,
  withVersion,
} from "./document.ts";
import { IdentityKey } from "./identity-key.ts";
import { PassphraseKey } from "./passphrase-key.ts";
import { fileUrlOf, type LocalSettings, placesOf } from "./places.ts";
import type { Step } from "./rotation.ts";
import type { StoreKey } from "./store-key.ts";

export interface LocalRef {
  readonly path: string;
  /** The id of a version that is still kept; without it the current one. */
  readonly version?: string | undefined;
}

export class LocalStore implements RotatableStore<LocalRef>, RecipientStore {
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
    const fileUrl = fileUrlOf(this.#file);
    for (const ref of refs) answer.set(ref, await this.#pick(ref, opened?.document, fileUrl));
    return answer;
  }

  async currentVersion(ref: LocalRef, signal: AbortSignal): Promise<string | undefined> {
    const document = await this.#read(signal);
    return ref.version === undefined
      ? entryOf(document, ref.path)?.current
      : versionOf(document, ref.path, ref.version)?.id;
  }

  async put(
    ref: LocalRef,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: { readonly version: string | undefined },
  ): Promise<{ readonly version: string }> {
    refuseVersion(ref);
    const version = this.#newVersion(value.reveal());
    const { expectCurrent } = await import("./rotation.ts");
    return this.#archive.rewrite(signal, async (current) => {
      const document = current?.document ?? emptyDocument();
      if (onlyIf) expectCurrent(document, ref.path, onlyIf.version);
      return {
        write: {
          document: withVersion(document, ref.path, version),
          seal: await this.#key.sealAfter(current?.header, signal),
        },
        result: { version: version.id },
      };
    });
  }

  async remove(ref: LocalRef, signal: AbortSignal): Promise<boolean> {
    return this.#step(ref, signal, (document) =>
      entryOf(document, ref.path)
        ? { document: withoutEntry(document, ref.path), result: true }
        : { result: false },
    );
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

  async findCandidate({ path }: LocalRef, signal: AbortSignal): Promise<Candidate | undefined> {
    const { findCandidate } = await import("./rotation.ts");
    return findCandidate(await this.#read(signal), path);
  }

  async putCandidate(
    ref: LocalRef,
    value: Secret,
    mark: CandidateMark,
    signal: AbortSignal,
  ): Promise<Candidate> {
    const { putCandidate } = await import("./rotation.ts");
    const version = this.#newVersion(value.reveal());
    return this.#step(ref, signal, (document) => putCandidate(document, ref.path, version, mark));
  }

  async fetchCandidate({ path }: LocalRef, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    const { candidateOf, noCandidate } = await import("./rotation.ts");
    const candidate = candidateOf(await this.#read(signal), path, rotationId);
    if (!candidate) throw noCandidate(path, rotationId);
    return fetched(candidate.version);
  }

  async promote(
    ref: LocalRef,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const { promote } = await import("./rotation.ts");
    return this.#step(ref, signal, (document) => promote(document, ref.path, rotationId, planned));
  }

  async discard(ref: LocalRef, rotationId: string, signal: AbortSignal): Promise<boolean> {
    const { discard } = await import("./rotation.ts");
    return this.#step(ref, signal, (document) => discard(document, ref.path, rotationId));
  }

  async restore(
    ref: LocalRef,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const { restore } = await import("./rotation.ts");
    return this.#step(ref, signal, (document) =>
      restore(document, ref.path, version, planned, (value) => this.#newVersion(value)),
    );
  }

  async retire(ref: LocalRef, version: string, signal: AbortSignal): Promise<boolean> {
    const { retire } = await import("./rotation.ts");
    return this.#step(ref, signal, (document) => retire(document, ref.path, version));
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

  async #read(signal: AbortSignal): Promise<StoreDocument> {
    return (await this.#archive.read(signal))?.document ?? emptyDocument();
  }

  #newVersion(value: string): StoredVersion {
    return newVersion(value, this.#context.clock.now());
  }

  /** Writes what `decide` makes of the document, under the lock. */
  async #step<T>(
    ref: LocalRef,
    signal: AbortSignal,
    decide: (document: StoreDocument) => Step<T>,
  ): Promise<T> {
    refuseVersion(ref);
    // Asked without the lock first: what changes nothing must not need a directory that can be written.
    const before = decide(await this.#read(signal));
    if (!before.document) return before.result;
    return this.#archive.rewrite(signal, async (current) => {
      const { document, result } = decide(current?.document ?? emptyDocument());
      if (!document) return { result };
      return { write: { document, seal: await this.#key.sealAfter(current?.header, signal) }, result };
    });
  }

  async #pick(
    ref: LocalRef,
    document: StoreDocument | undefined,
    fileUrl: string,
  ): Promise<FetchedSecret | ProviderError> {
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
    return { ...fetched(version), ...placeAt(`${fileUrl}#${ref.path}`) };
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

function fetched({ id, value, createdAt }: StoredVersion): FetchedSecret {
  return { value: new Secret(value), version: id, createdAt: new Date(createdAt) };
}

function refuseVersion(ref: LocalRef): void {
  if (ref.version === undefined) return;
  throw new ProviderError("invalid", "a version can't be written or removed by itself", {
    hint: "the same without version:",
  });
}

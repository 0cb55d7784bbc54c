/** One server, opened: what the contract asks for, each part answered by its own file. */
import { ProviderError } from "../../src/errors.ts";
import type {
  Candidate,
  CandidateMark,
  FetchedSecret,
  OwnRotation,
  ProviderContext,
  RotatableStore,
  SelfRotating,
  StoredEntry,
} from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { type Address, placeIn } from "./address.ts";
import { VaultClient } from "./client.ts";
import type { Credential } from "./credential.ts";
import { currentVersion, peekVersion } from "./current-version.ts";
import { OutOfReach } from "./failure.ts";
import { inParallel } from "./in-parallel.ts";
import { Leases } from "./leases.ts";
import { mustBeWritable } from "./may-write.ts";
import { Mounts } from "./mounts.ts";
import { ownRotation } from "./own-rotation.ts";
import { readDocument } from "./read-document.ts";
import {
  discard,
  fetchCandidate,
  findCandidate,
  promote,
  putCandidate,
  restore,
  retire,
  takeAway,
} from "./rotate-document.ts";
import { Session } from "./session.ts";
import type { VaultRef } from "./settings.ts";
import { listDocuments, putDocument, removeDocument } from "./write-document.ts";

const READS_AT_ONCE = 10;
/** Less than the two seconds that mcp-run waits for all its providers. */
const CLOSE_MS = 1_500;

type OnlyIf = { readonly version: string | undefined };

export class VaultProvider implements RotatableStore<VaultRef>, SelfRotating<VaultRef> {
  readonly #address: Address;
  readonly #client: VaultClient;
  readonly #session: Session;
  readonly #mounts: Mounts;
  readonly #leases: Leases;
  readonly #context: ProviderContext;
  readonly #listedMount: string | undefined;
  #closed: Promise<void> | undefined;

  /** @param listedMount what `list` lists */
  constructor(
    address: Address,
    credential: Credential,
    listedMount: string | undefined,
    context: ProviderContext,
  ) {
    this.#address = address;
    this.#client = new VaultClient(address, context.clock);
    this.#session = new Session(this.#client, credential, context);
    this.#mounts = new Mounts(this.#session);
    this.#leases = new Leases(this.#session);
    this.#context = context;
    this.#listedMount = listedMount;
  }

  async fetch(
    refs: readonly VaultRef[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<VaultRef, FetchedSecret | ProviderError>> {
    signal.throwIfAborted();
    const documents = new Map(refs.map((ref) => [JSON.stringify([ref.path, ref.version]), ref]));
    const withoutMount = await this.#mounts.learn(
      [...documents.values()].map(({ path }) => path),
      signal,
    );
    const answers = new Map<string, FetchedSecret | ProviderError>();
    /** Once the server is out of reach, the rest is not tried, which would only take the time of each. */
    let outOfReach: ProviderError | undefined;
    await inParallel(READS_AT_ONCE, documents, async ([key, ref]) => {
      const answer =
        withoutMount.get(ref.path) ??
        outOfReach ??
        (await readDocument(this.#reader, ref, signal).catch(asAnswer(signal)));
      if (answer instanceof OutOfReach) outOfReach = answer;
      answers.set(key, answer);
    });
    return new Map(
      refs.map((ref) => [
        ref,
        answers.get(JSON.stringify([ref.path, ref.version])) as FetchedSecret | ProviderError,
      ]),
    );
  }

  async currentVersion(ref: VaultRef, signal: AbortSignal): Promise<string | undefined> {
    return currentVersion(this.#reader, ref, signal);
  }

  async peekVersion(ref: VaultRef, signal: AbortSignal, before?: FetchedSecret): Promise<string | undefined> {
    return peekVersion(this.#reader, ref, signal, before);
  }

  async put(
    ref: VaultRef,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: OnlyIf,
  ): Promise<{ version?: string }> {
    return putDocument(this.#reader, ref, value, signal, onlyIf);
  }

  async remove(ref: VaultRef, signal: AbortSignal): Promise<boolean> {
    return removeDocument(this.#reader, ref, signal);
  }

  async list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    signal.throwIfAborted();
    const mount = this.#listedMount;
    if (mount !== undefined) return listDocuments(this.#reader, mount, signal);
    throw new ProviderError("invalid", "nothing says which mount is to be listed", {
      hint: `mount: with the path of a KV mount under providers: ${this.#context.name}:`,
    });
  }

  async mustBeWritable(ref: VaultRef, signal: AbortSignal): Promise<void> {
    return mustBeWritable(this.#reader, ref, signal);
  }

  async findCandidate(ref: VaultRef, signal: AbortSignal): Promise<Candidate | undefined> {
    return findCandidate(this.#reader, ref, signal);
  }

  async putCandidate(
    ref: VaultRef,
    value: Secret,
    mark: CandidateMark,
    signal: AbortSignal,
  ): Promise<Candidate> {
    return putCandidate(this.#reader, ref, value, mark, signal);
  }

  async fetchCandidate(ref: VaultRef, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    return fetchCandidate(this.#reader, ref, rotationId, signal);
  }

  async promote(
    ref: VaultRef,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return promote(this.#reader, ref, rotationId, planned, signal);
  }

  async discard(ref: VaultRef, rotationId: string, signal: AbortSignal): Promise<boolean> {
    return discard(this.#reader, ref, rotationId, signal);
  }

  async restore(
    ref: VaultRef,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return restore(this.#reader, ref, version, planned, signal);
  }

  async retire(ref: VaultRef, version: string, signal: AbortSignal): Promise<boolean> {
    return retire(this.#reader, ref, version, signal);
  }

  async takeAway(ref: VaultRef, version: string, signal: AbortSignal): Promise<boolean> {
    return takeAway(this.#reader, ref, version, signal);
  }

  async ownRotation(ref: VaultRef, signal: AbortSignal): Promise<OwnRotation> {
    return ownRotation(this.#reader, ref, this.#context.clock, signal);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const given = new AbortController();
    const timer = this.#context.clock.after(CLOSE_MS, () => given.abort());
    await this.#leases.close(given.signal);
    await this.#session.close(given.signal);
    timer.cancel();
    this.#client.close();
  }

  get #reader() {
    return {
      session: this.#session,
      mounts: this.#mounts,
      leases: this.#leases,
      placeOf: (path: string) => placeIn(this.#address, path),
      now: () => this.#context.clock.now(),
    };
  }
}

/** What failed is the answer; but for an abort, and for what is no failure of a backend. */
function asAnswer(signal: AbortSignal) {
  return (error: unknown): ProviderError => {
    signal.throwIfAborted();
    if (error instanceof ProviderError) return error;
    throw error;
  };
}

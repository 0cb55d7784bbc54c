/**
 * The last good documents of one profile, encrypted, for a day on which a backend is out of reach. One file a
 * profile, in the format of the embedded store and with a key of its own, which the OS keychain keeps where there
 * is one. Whether something has changed is told by a keyed mark beside it, so that a start need not open it.
 */
import { existsSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { McpRunError, ProviderError, systemErrorCode } from "../errors.ts";
import { fingerprints } from "./fingerprint.ts";
import { isServable, type KeptDocument, parseKept, serializeKept } from "./kept-document.ts";
import { readPrivate, removePrivate, sweepFolder, writePrivate } from "./private-file.ts";
import { isSecretStore, type ProviderContext, type ProviderKinds, type SecretStore } from "./provider.ts";
import type { SharedContext } from "./provider-pool.ts";
import { Secret } from "./secret.ts";

/** The longest `maxAge` that a profile may ask for; a file that old belongs to nobody. */
export const LONGEST_MAX_AGE_MS = 30 * 24 * 60 * 60_000;
const ENTRY = { path: "documents" };
/** The provider's name, after which its key is called; no entry of a profile file can have this one. */
const STORE = "profile.cache";
/** What is kept is written again when it is older than this part of `maxAge`, so that it does not run out in use. */
const REWRITE_AFTER = 1 / 10;
const MOST_MARK_BYTES = 256;

export interface CacheSettings {
  /** See cacheFile. */
  readonly file: string;
  readonly maxAgeMs: number;
}

export interface CacheOptions extends CacheSettings {
  readonly kinds: ProviderKinds;
  readonly context: SharedContext;
}

export class DocumentCache {
  readonly #options: CacheOptions;
  #read: Promise<ReadonlyMap<string, KeptDocument>> | undefined;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** False if nothing was ever kept: asking for documents is then in vain. Opens nothing. */
  get isThere(): boolean {
    return existsSync(this.#options.file);
  }

  /** What is kept under these keys and may be served now. Never rejects; what can't be read is a warning. */
  async find(keys: readonly string[]): Promise<ReadonlyMap<string, KeptDocument>> {
    this.#read ??= this.#readAll();
    const all = await this.#read;
    const { context, maxAgeMs } = this.#options;
    const [env, now] = [context.env.all(), context.clock.now()];
    const found = keys.map((key) => all.get(key)).filter((kept) => kept !== undefined);
    return new Map(
      found.filter((kept) => isServable(kept, env, maxAgeMs, now)).map((kept) => [kept.key, kept]),
    );
  }

  /**
   * Keeps these documents and no others; writes only if they have changed or a tenth of `maxAge` is over.
   * Never rejects; what can't be written is a warning.
   */
  async keep(documents: readonly KeptDocument[], signal: AbortSignal): Promise<void> {
    const { file, maxAgeMs, context } = this.#options;
    try {
      const mark = markOf(documents, context.paths.state);
      if (documents.length === 0) forgetCache(file);
      else if (!isUpToDate(file, mark, context.clock.now(), maxAgeMs * REWRITE_AFTER)) {
        await this.#write(documents, signal);
        writePrivate(markFile(file), JSON.stringify({ mark, at: context.clock.now() }));
        sweepFolder(dirname(file), LONGEST_MAX_AGE_MS, context.clock.now());
      }
    } catch (error) {
      const reason = signal.aborted ? "the program ended before that was done" : reasonOf(error);
      context.emit({
        type: "warning",
        message: `the secrets of this profile could not be kept for a bad day: ${reason}`,
      });
    }
  }

  async #write(documents: readonly KeptDocument[], signal: AbortSignal): Promise<void> {
    const { file } = this.#options;
    await this.#makeKey(signal);
    // A new file each time: an old one would keep the versions before, and might be closed to us by now.
    const draft = `${file}.${process.pid}.tmp`;
    const recipients = `${draft}.recipients`;
    try {
      const store = await this.#open(draft, recipients);
      await store.put(ENTRY, serializeKept(documents), signal);
      renameSync(draft, file);
    } finally {
      for (const left of [draft, recipients]) rmSync(left, { force: true });
    }
  }

  /**
   * All caches have one key. A client starts several profiles at the same moment, and of the keys that each would make
   * only the last would stay; so it is made with a file of all of them, under that file's lock.
   */
  async #makeKey(signal: AbortSignal): Promise<void> {
    const file = join(dirname(this.#options.file), "key-made.age");
    if (existsSync(file)) return;
    const recipients = `${file}.recipients`;
    await (await this.#open(file, recipients)).put(ENTRY, new Secret("nothing"), signal);
    rmSync(recipients, { force: true });
  }

  async #readAll(): Promise<ReadonlyMap<string, KeptDocument>> {
    const { file, context } = this.#options;
    try {
      if (!this.isThere) return new Map();
      const store = await this.#open(file, `${file}.recipients`);
      const answer = (await store.fetch([ENTRY], new AbortController().signal)).get(ENTRY);
      if (!answer || answer instanceof ProviderError) throw answer;
      const kept = parseKept(answer.value);
      if (!kept) throw new ProviderError("invalid", `${file} is damaged, or was written by a newer mcp-run`);
      return new Map(kept.map((document) => [document.key, document]));
    } catch (error) {
      const message = `the secrets that were kept for a bad day can't be read: ${reasonOf(error)}`;
      context.emit({ type: "warning", message });
      return new Map();
    }
  }

  async #open(file: string, recipients: string): Promise<SecretStore<object>> {
    const { kinds, context } = this.#options;
    const kind = await kinds.load("local");
    if (!kind) throw new ProviderError("unavailable", "this mcp-run has no embedded store");
    const own: ProviderContext = {
      ...context,
      name: STORE,
      // That it has made a key concerns nobody: without it only the cache is lost.
      emit: (event) =>
        context.emit(event.type === "notice" ? { type: "debug", message: event.message } : event),
      credentialIs: () => undefined,
      resolveRef: () => Promise.reject(new Error("the cache needs no other secret")),
    };
    const store = await kind.open(kind.configSchema.parse({ file, recipients }), own);
    if (!isSecretStore(store)) throw new Error("the embedded store is no store");
    return store;
  }
}

/** Removes what is kept for a profile: a rotation makes it worthless. False if there was nothing. Throws system errors. */
export function forgetCache(file: string): boolean {
  removePrivate(markFile(file));
  return removePrivate(file);
}

function markFile(file: string): string {
  return `${file}.mark`;
}

function isUpToDate(file: string, mark: string, now: number, maxAgeMs: number): boolean {
  const noted = readPrivate(markFile(file), MOST_MARK_BYTES)?.toString();
  if (noted === undefined || !isThere(file)) return false;
  const [, before, at] = /^\{"mark":"([0-9a-f]+)","at":(\d+)\}$/.exec(noted) ?? [];
  const age = now - Number(at);
  return before === mark && age >= 0 && age < maxAgeMs;
}

function isThere(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}

/** Of what would be served, and not of when it was fetched. */
function markOf(documents: readonly KeptDocument[], stateFolder: string): string {
  const content = documents.map(({ key, environment, document }) => ({
    key,
    environment,
    ...(document && { ...document, value: document.value.reveal() }),
  }));
  return fingerprints(stateFolder)(content.sort((a, b) => (a.key < b.key ? -1 : 1)));
}

/** Only errors of the family are known to hold no secret. */
function reasonOf(error: unknown): string {
  if (error instanceof ProviderError) return error.reason;
  if (error instanceof McpRunError) return error.message;
  return systemErrorCode(error) ?? "a bug in mcp-run";
}

/**
 * The encrypted file as a document: read it, or rewrite it under the lock. A file that can't be opened or
 * understood is never overwritten, and a rewrite replaces only the very file that it has read.
 */
import { dirname } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { type AgeHeader, parseHeader } from "./age/header.ts";
import { openPayload } from "./age/payload.ts";
import type { Seal } from "./age/seal.ts";
import { MAX_DOCUMENT_BYTES, parseDocument, type StoreDocument, serializeDocument } from "./document.ts";
import { fileError, namingFile } from "./file-error.ts";
import type { Places } from "./places.ts";
import { type FileContent, readFileBounded } from "./read-file.ts";
import type { StoreKey } from "./store-key.ts";

/** The largest document, age's largest header that we read, and 16 bytes for each 64 KiB. */
const MAX_FILE_BYTES = MAX_DOCUMENT_BYTES + 512 * 1024;
/** How often a write starts over because somebody else (a `git pull`) replaced the file meanwhile. */
const MAX_TRIES = 5;
/** Ms that a writer waits for another. */
const PATIENCE_MS = 10_000;

export interface Opened {
  readonly document: StoreDocument;
  readonly header: AgeHeader;
}

export interface Rewrite<T> {
  /** Without it the file is left alone. */
  readonly write?: { readonly document: StoreDocument; readonly seal: Seal };
  readonly result: T;
  /** Runs once the file is in place. */
  readonly afterwards?: () => Promise<void>;
}

export class StoreArchive {
  readonly #places: Places;
  readonly #key: StoreKey;
  readonly #clock: Clock;

  constructor(places: Places, key: StoreKey, clock: Clock) {
    this.#places = places;
    this.#key = key;
    this.#clock = clock;
  }

  /** Undefined if there is no file yet. Throws ProviderError. */
  async read(signal: AbortSignal): Promise<Opened | undefined> {
    signal.throwIfAborted();
    const file = readFileBounded(this.#places.store, MAX_FILE_BYTES);
    return file && this.#open(file, signal);
  }

  /**
   * Lets `work` decide on the next content, with what is there now; it may be asked again if the file was
   * replaced meanwhile. Throws ProviderError, and the file is then as it was.
   */
  async rewrite<T>(
    signal: AbortSignal,
    work: (current: Opened | undefined) => Promise<Rewrite<T>>,
  ): Promise<T> {
    signal.throwIfAborted();
    const [{ withFileLock }, { behindLinks, ensurePrivateDirectory }] = await Promise.all([
      import("../../src/file-lock.ts"),
      import("./replace-file.ts"),
    ]);
    const path = await behindLinks(this.#places.store);
    await ensurePrivateDirectory(dirname(path));
    const lock = {
      path: `${path}.lock`,
      patienceMs: PATIENCE_MS,
      clock: this.#clock,
      signal,
      refused: (error: unknown) => fileError(error, "made", `${path}.lock`),
    };
    return withFileLock(lock, async () => {
      await this.#key.prepareToWrite(signal);
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const file = readFileBounded(path, MAX_FILE_BYTES);
        const next = await work(file && (await this.#open(file, signal)));
        if (!next.write || (await this.#write(path, file, next.write, signal))) {
          await next.afterwards?.();
          return next.result;
        }
      }
      throw new ProviderError("unavailable", `${path} is being replaced by something else all the time`);
    });
  }

  async #write(
    path: string,
    file: FileContent | undefined,
    { document, seal }: NonNullable<Rewrite<unknown>["write"]>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { replaceFile } = await import("./replace-file.ts");
    const bytes = await seal(serializeDocument(document));
    signal.throwIfAborted();
    const mode = this.#places.isStorePrivate ? 0o600 : (file?.mode ?? 0o600);
    return replaceFile(path, { bytes, mode, ifStamp: file?.stamp ?? null });
  }

  async #open(file: FileContent, signal: AbortSignal): Promise<Opened> {
    const { store } = this.#places;
    const header = namingFile(store, () => parseHeader(file.bytes));
    const fileKey = await this.#key.unlock(header, signal);
    const document = namingFile(store, () =>
      parseDocument(openPayload(file.bytes, header, fileKey).toString()),
    );
    return { document, header };
  }
}

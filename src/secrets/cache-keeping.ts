/** Keeps what one fetch gave for a bad day, once the program runs; a short program must not be too short for that. */
import { type Clock, settledWithin } from "../clock.ts";
import type { CacheUse } from "./cache-use.ts";
import type { DocumentCache } from "./document-cache.ts";

/** Ms that the end of the program waits. */
const FINISH_MS = 2_000;

export class CacheKeeping {
  readonly #use: CacheUse;
  readonly #documents: DocumentCache;
  readonly #clock: Clock;
  readonly #over = new AbortController();
  #keeping: Promise<void> | undefined;

  constructor(use: CacheUse, documents: DocumentCache, clock: Clock) {
    this.#use = use;
    this.#documents = documents;
    this.#clock = clock;
  }

  /** Waits for the backends that are still being asked. May be called twice. */
  start(): void {
    const { signal } = this.#over;
    this.#keeping ??= this.#use.documents().then((documents) => {
      if (!signal.aborted) return this.#documents.keep(documents, signal);
    });
  }

  /** Settles when every backend has said its last, which may be worth keeping. */
  settled(): Promise<void> {
    return this.#use.settled();
  }

  /** Waits a moment for what has been started, then gives it up. Never rejects. */
  async finish(): Promise<void> {
    if (this.#keeping) await settledWithin(this.#clock, FINISH_MS, this.#keeping);
    this.#over.abort(new Error("the program has ended"));
  }
}

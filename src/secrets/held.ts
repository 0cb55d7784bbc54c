/**
 * What stays behind when the secrets of a program have been fetched, and lives as long as the program: its
 * leases, the backends that they need, and what is still to be kept for a bad day. Without a lease the backends
 * are closed at once, and nobody waits for that but the end of the process.
 */
import { type Clock, settledWithin } from "../clock.ts";
import type { CacheUse } from "./cache-use.ts";
import type { DocumentCache } from "./document-cache.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { CLOSE_MS, type ProviderPool } from "./provider-pool.ts";

export interface HeldOptions {
  readonly pool: ProviderPool;
  readonly clock: Clock;
  /** Undefined if nothing was lent. */
  readonly leases?: LeaseKeeper | undefined;
  /** Undefined if the profile has no cache, or asks nobody across a network. */
  readonly cache?: { readonly use: CacheUse; readonly documents: DocumentCache } | undefined;
}

export class Held {
  readonly #options: HeldOptions;
  readonly #released = new AbortController();
  #keeping: Promise<void> | undefined;
  #release: Promise<void> | undefined;

  constructor(options: HeldOptions) {
    this.#options = options;
    const { pool, leases, cache } = options;
    // A backend that is slower than the cache may still say something worth keeping.
    if (!leases) void (cache ? cache.use.settled().then(() => pool.close()) : pool.close());
  }

  get hasCache(): boolean {
    return this.#options.cache !== undefined;
  }

  /** The program runs, so its secrets are good: from now on there is time for what must not delay a start. */
  started(): void {
    const { cache } = this.#options;
    if (!cache) return;
    const { signal } = this.#released;
    this.#keeping ??= cache.use.documents().then((documents) => {
      if (!signal.aborted) return cache.documents.keep(documents, signal);
    });
  }

  /**
   * The program has ended, or could not be started: revokes the leases and closes the backends. Bounded; never
   * rejects; may be called twice.
   */
  release(): Promise<void> {
    this.#release ??= this.#releaseNow();
    return this.#release;
  }

  async #releaseNow(): Promise<void> {
    const { pool, leases, clock } = this.#options;
    await Promise.all([this.#finishKeeping(clock), leases?.close()]);
    await pool.close();
  }

  /** A short program must not be too short for its cache. */
  async #finishKeeping(clock: Clock): Promise<void> {
    if (!this.#keeping) return;
    await settledWithin(clock, CLOSE_MS, this.#keeping);
    this.#released.abort(new Error("the program has ended"));
  }
}

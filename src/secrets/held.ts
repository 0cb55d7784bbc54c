/**
 * What stays behind when the secrets of a program have been fetched, and lives as long as a program that uses them:
 * their leases, the backends that the leases need, and what is still to be kept for a bad day. Several may have a
 * claim on it, servers that follow one another above all; a lease is revoked when its last user has gone, a backend
 * closed when the last of its leases has. Without a lease it is closed at once, and only the end of the process waits.
 */
import type { Lease } from "./provider.ts";
import type { Shared } from "./shared.ts";

/** What one fetch still has to do for the cache. */
export interface Keeping {
  start(): void;
}

export interface HeldOptions {
  /** What the fetch itself leaves behind: it ends when nobody uses what came from this fetch. */
  readonly fetched: Shared;
  /** What its documents live on, also those that came from a fetch before. */
  readonly leases: ReadonlyMap<Lease, Shared>;
  /** Undefined if the profile has no cache, or asks nobody across a network. */
  readonly keeping: Keeping | undefined;
}

export class Held {
  readonly #options: HeldOptions;
  #release: Promise<void> | undefined;

  /** @param options one claim on each of them passes to it */
  constructor(options: HeldOptions) {
    this.#options = options;
  }

  get hasCache(): boolean {
    return this.#options.keeping !== undefined;
  }

  /** The program runs, so its secrets are good: from now on there is time for what must not delay a start. */
  started(): void {
    this.#options.keeping?.start();
  }

  /** Another claim on all of it, to be released by itself. Throws if this one was released. */
  share(): Held {
    const { fetched, leases, keeping } = this.#options;
    if (this.#release) throw new Error("what was released can't be shared");
    const shared = new Map(Array.from(leases, ([lease, use]) => [lease, use.share()]));
    return new Held({ fetched: fetched.share(), leases: shared, keeping });
  }

  /** Another claim on one of its leases; undefined if it has no such lease. */
  shareLease(lease: Lease): Shared | undefined {
    return this.#options.leases.get(lease)?.share();
  }

  /**
   * Gives the claim up: the program has ended, or could not be started. Resolves when what that has caused is over:
   * leases revoked, backends closed. Bounded; never rejects; may be called twice.
   */
  release(): Promise<void> {
    this.#release ??= this.#releaseNow();
    return this.#release;
  }

  async #releaseNow(): Promise<void> {
    const { fetched, leases } = this.#options;
    await Promise.all([fetched, ...leases.values()].map((claim) => claim.giveUp()));
  }
}

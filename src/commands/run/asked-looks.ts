/** Looks at the secrets that messages ask for: at most one a second, and none of them is forgotten. */
import type { Clock, Timer } from "../../clock.ts";

const LEAST_MS = 1_000;

export class AskedLooks {
  readonly #clock: Clock;
  readonly #look: () => void;
  #lastAt = Number.NEGATIVE_INFINITY;
  #next: Timer | undefined;

  constructor(clock: Clock, look: () => void) {
    this.#clock = clock;
    this.#look = look;
  }

  /** One is still to come. */
  get isPending(): boolean {
    return this.#next !== undefined;
  }

  ask(): void {
    if (this.#next) return;
    const waitMs = this.#lastAt + LEAST_MS - this.#clock.monotonic();
    if (waitMs <= 0) this.#begin();
    else this.#next = this.#clock.after(waitMs, () => this.#begin(), { background: true });
  }

  stop(): void {
    this.#next?.cancel();
  }

  #begin(): void {
    this.#next = undefined;
    this.#lastAt = this.#clock.monotonic();
    this.#look();
  }
}

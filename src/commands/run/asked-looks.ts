/** Looks at the secrets that messages ask for: at most one a second, and none of them is forgotten. */
import type { Clock, Timer } from "../../clock.ts";

const LEAST_MS = 1_000;
/** Between a message and the look: fifty of us are told in that time, and none has to wait for another's work. */
const BREATH_MS = 100;

export class AskedLooks {
  readonly #clock: Clock;
  readonly #look: () => Promise<void>;
  #lastAt = Number.NEGATIVE_INFINITY;
  #next: { readonly timer: Timer; readonly ended: Promise<void> } | undefined;

  /** @param look resolves when it has ended, whichever way */
  constructor(clock: Clock, look: () => Promise<void>) {
    this.#clock = clock;
    this.#look = look;
  }

  /** One is still to come. */
  get isPending(): boolean {
    return this.#next !== undefined;
  }

  /** Resolves when the look that comes of it has ended; never after `stop`. */
  ask(): Promise<void> {
    if (this.#next) return this.#next.ended;
    const waitMs = Math.max(BREATH_MS, this.#lastAt + LEAST_MS - this.#clock.monotonic());
    const { promise: ended, resolve } = deferred();
    const timer = this.#clock.after(waitMs, () => resolve(this.#begin()), { background: true });
    this.#next = { timer, ended };
    return ended;
  }

  stop(): void {
    this.#next?.timer.cancel();
  }

  #begin(): Promise<void> {
    this.#next = undefined;
    this.#lastAt = this.#clock.monotonic();
    return this.#look();
  }
}

function deferred() {
  let resolve: (value: void | Promise<void>) => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

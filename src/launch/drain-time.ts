/**
 * How long an old server may take to finish its work: as long as its profile says, but while a leaked key is being
 * replaced not longer than others can wait for that key to end.
 */
import type { Clock, Timer } from "../clock.ts";

/** Ms in an emergency, and for how long after the word of it a change belongs to it. */
const URGENT_MS = 30_000;
const URGENT_FOR_MS = 5 * 60_000;

export class DrainTime {
  readonly #clock: Clock;
  readonly #ms: number;
  #urgentUntil = Number.NEGATIVE_INFINITY;
  /** Of the server that drains now; there is one at a time. */
  #cutShort: (() => void) | undefined;
  #drained: Promise<void> = Promise.resolve();

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  get isUnderWay(): boolean {
    return this.#cutShort !== undefined;
  }

  /** Resolves when no old server has anything to finish; never rejects. */
  get drained(): Promise<void> {
    return this.#drained;
  }

  /** What drains now, and what is changed soon, has half a minute. */
  hurry(): void {
    this.#urgentUntil = this.#clock.monotonic() + URGENT_FOR_MS;
    this.#cutShort?.();
  }

  /** @param drain ends after `ms`, or when `cut` is aborted */
  async run(drain: (ms: number, cut: AbortSignal) => Promise<void>): Promise<void> {
    const cut = new AbortController();
    let timer: Timer | undefined;
    this.#cutShort = () => {
      timer ??= this.#clock.after(URGENT_MS, () => cut.abort(new Error("a key is being replaced")));
    };
    if (this.#clock.monotonic() < this.#urgentUntil) this.#cutShort();
    const done = drain(this.#ms, cut.signal).finally(() => {
      timer?.cancel();
      this.#cutShort = undefined;
    });
    this.#drained = done.catch(() => undefined);
    return done;
  }
}

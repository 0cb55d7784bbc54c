/**
 * Looks after the secrets of a server that runs: at the times of a schedule, before a value ends, and whenever
 * somebody asks for it. One look at a time; what is asked for meanwhile is one more look afterwards.
 *
 *   waiting --its time, now()--> looking --done--> waiting for the next time
 *                                   |----failed---> waiting a while, longer each time; said once
 */
import type { Clock } from "../clock.ts";
import { Schedule } from "./schedule.ts";

/** Ms: what a failed look waits at most at first, at most ever, and at least. */
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 5 * 60_000;
const LEAST_RETRY_MS = 1_000;

export interface RefresherOptions {
  readonly clock: Clock;
  /** Ms. */
  readonly everyMs?: number | undefined;
  /** See Schedule. */
  readonly nextByCron?: ((after: number) => number | undefined) | undefined;
  /** In [0, 1). */
  readonly random?: () => number;
  /**
   * Looks, and does what has to be done. Gives the wall-clock times (ms) by which it has to look again.
   *
   * `isAsked` is true where somebody has asked for this look.
   */
  readonly look: (signal: AbortSignal, isAsked: boolean) => Promise<readonly number[]>;
  /** A look has failed; the next one is in `retryMs`. To be told of each; who tells people says it once. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
}

export class Refresher {
  readonly #options: RefresherOptions;
  readonly #schedule: Schedule;
  readonly #random: () => number;
  #looking: Promise<void> | undefined;
  /** Of the look that is under way: whoever combines signals lets one that lives long grow. */
  #giveUp = new AbortController();
  #isStopped = false;
  #isWanted = false;
  #failures = 0;

  constructor(options: RefresherOptions) {
    const { clock, everyMs, nextByCron, random = Math.random } = options;
    this.#options = options;
    this.#random = random;
    this.#schedule = new Schedule({
      clock,
      ...(everyMs !== undefined && { everyMs }),
      ...(nextByCron && { nextByCron }),
      random,
      onDue: () => this.#begin(),
    });
  }

  /** Wall-clock ms of the next look; undefined if there is none, or one is under way. */
  get dueAt(): number | undefined {
    return this.#schedule.dueAt;
  }

  /** From now on it looks. @param times see RefresherOptions.look */
  start(times: readonly number[]): void {
    this.#plan(times);
  }

  /** Looks at once, or once more after the look that is under way. */
  now(): void {
    if (this.#looking) this.#isWanted = true;
    else this.#begin(true);
  }

  /** Looks at this wall-clock time (ms) at the latest. A look that is under way will say so by itself. */
  by(time: number): void {
    const { dueAt } = this.#schedule;
    if (this.#looking || this.#isStopped || (dueAt !== undefined && dueAt <= time)) return;
    this.#schedule.planIn(Math.max(0, time - this.#options.clock.now()));
  }

  /** No more looks; resolves when the one that was under way has been given up. Never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#giveUp.abort(new Error("the session has ended"));
    this.#schedule.stop();
    await this.#looking;
  }

  #begin(isAsked = false): void {
    if (this.#isStopped) return;
    this.#schedule.stop();
    this.#isWanted = false;
    this.#giveUp = new AbortController();
    this.#looking = this.#look(isAsked).finally(() => {
      this.#looking = undefined;
      if (this.#isWanted) this.#begin(true);
    });
  }

  async #look(isAsked: boolean): Promise<void> {
    const { look, onFailure } = this.#options;
    try {
      this.#plan(await look(this.#giveUp.signal, isAsked));
    } catch (error) {
      if (this.#isStopped) return;
      const retryMs = this.#retryMs();
      onFailure(error, retryMs);
      this.#schedule.planIn(retryMs);
    }
  }

  /** A time that is over although somebody has just looked is waited for like a failure. */
  #plan(times: readonly number[]): void {
    if (this.#isStopped) return;
    const now = this.#options.clock.now();
    const isLate = times.some((time) => time <= now);
    if (!isLate) this.#failures = 0;
    this.#schedule.plan(isLate ? [...times.filter((time) => time > now), now + this.#retryMs()] : times);
  }

  /** Full jitter under a bound that doubles. */
  #retryMs(): number {
    const most = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures++;
    return Math.max(LEAST_RETRY_MS, Math.round(this.#random() * most));
  }
}

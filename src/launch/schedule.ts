/**
 * When the secrets are looked at again: every so often with jitter, by a cron line in its time zone, or at a time
 * that somebody gives; whatever comes first. Wall-clock times are compared at least once a minute, since timers
 * stand still while a machine sleeps: one that slept through three times is told once. A clock that was put back
 * makes it due at once, since nobody knows by how much.
 */
import type { Clock, Timer } from "../clock.ts";

/** Ms between two looks at the wall clock. */
const LOOK_EVERY_MS = 60_000;
/** Ms that a value which expires is fetched anew before its end. */
const BEFORE_EXPIRY_MS = 5 * 60_000;
/** How much of `every` the jitter may add or take. */
const JITTER = 0.1;

export interface ScheduleOptions {
  readonly clock: Clock;
  /** Ms. */
  readonly everyMs?: number;
  /** The next time of a cron line after a wall-clock time, both in ms; undefined if there is none. */
  readonly nextByCron?: (after: number) => number | undefined;
  /** 0 to 1. */
  readonly random: () => number;
  readonly onDue: () => void;
}

export class Schedule {
  readonly #options: ScheduleOptions;
  #timer: Timer | undefined;
  #dueAt: number | undefined;

  constructor(options: ScheduleOptions) {
    this.#options = options;
  }

  /** Wall-clock ms of the next time; undefined if there is none. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /**
   * Sets the next time, counted from now.
   *
   * @param others wall-clock times (ms) besides those of the schedule
   */
  plan(others: readonly number[] = []): void {
    const { clock, everyMs, nextByCron, random } = this.#options;
    const now = clock.now();
    const times = [...others];
    if (everyMs !== undefined) times.push(now + everyMs * (1 + JITTER * (2 * random() - 1)));
    const byCron = nextByCron?.(now);
    if (byCron !== undefined) times.push(byCron);
    this.#set(times.length > 0 ? Math.min(...times) : undefined);
  }

  /** Sets the next time to `ms` from now, whatever was planned. */
  planIn(ms: number): void {
    this.#set(this.#options.clock.now() + ms);
  }

  stop(): void {
    this.#set(undefined);
  }

  #set(dueAt: number | undefined): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueAt = dueAt;
    if (dueAt !== undefined) this.#look(dueAt);
  }

  #look(dueAt: number): void {
    const { clock, onDue } = this.#options;
    const lookedAt = clock.now();
    const wait = Math.max(0, Math.min(LOOK_EVERY_MS, dueAt - lookedAt));
    this.#timer = clock.after(
      wait,
      () => {
        const now = clock.now();
        if (now < dueAt && now >= lookedAt) return this.#look(dueAt);
        this.#timer = undefined;
        this.#dueAt = undefined;
        onDue();
      },
      { background: true },
    );
  }
}

/** Ms from now: five minutes before the end, and where that is soon, after 85 % of the time. */
export function refetchAfter(leftMs: number): number {
  return Math.max(1_000, leftMs - BEFORE_EXPIRY_MS, leftMs * 0.85);
}

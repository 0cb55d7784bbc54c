/** Time is handed in, so that no test has to sleep: see test/helpers/virtual-clock.ts. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time in ms since the epoch; may jump. */
  now(): number;
  /** Ms since some fixed point; never goes back. */
  monotonic(): number;
  /** Calls `callback` once after `ms`, however long; `background: true` does not keep the process alive. */
  after(ms: number, callback: () => void, options?: { background?: boolean }): Timer;
}

/** What setTimeout can wait: a longer time would be over at once (2^31 - 1 ms, 24.8 days). */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  // The first look at `performance` takes a millisecond, and every start would take it.
  monotonic: () => Number(process.hrtime.bigint()) / 1e6,
  after(ms, callback, options) {
    let handle: NodeJS.Timeout;
    const wait = (left: number) => {
      const part = Math.min(left, LONGEST_TIMEOUT_MS);
      handle = setTimeout(() => (left > part ? wait(left - part) : callback()), part);
      if (options?.background) handle.unref();
    };
    wait(ms);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Settles as `work` does, or rejects with `onTimeout()` after `ms`; the loser's outcome is dropped. */
export function withDeadline<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  onTimeout: () => Error,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(ms, () => reject(onTimeout()));
    work.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

/** Settles as `work` does, or rejects with the signal's reason as soon as that is aborted; the loser is dropped. */
export function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it is aborted, and leaves no timer behind. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  let timer: Timer | undefined;
  const over = new Promise<void>((resolve) => {
    timer = clock.after(ms, resolve);
  });
  try {
    await untilAborted(signal, over);
  } finally {
    timer?.cancel();
  }
}

/** Resolves when `work` has settled, whichever way, or after `ms`. */
export function settledWithin(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, resolve);
    const settled = () => {
      timer.cancel();
      resolve();
    };
    work.then(settled, settled);
  });
}

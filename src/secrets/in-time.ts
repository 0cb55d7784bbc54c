/** Work that is given up when its time is over. */
import { type Clock, type Timer, untilAborted } from "../clock.ts";
import { ProviderError } from "../errors.ts";

export interface InTime {
  readonly clock: Clock;
  /** Ms; Infinity for no limit. */
  readonly limitMs: number;
  /** Aborted: given up at once, with the signal's reason. */
  readonly signal: AbortSignal;
  /** True while the work waits for something that has a limit of its own: the time then begins anew. */
  readonly isWaiting?: () => boolean;
  /** What to try when the time is over; reads well after «Try ». Without it, the profile's `fetchTimeout`. */
  readonly hint?: string;
}

/** Rejects with ProviderError `unavailable` when the time is over; the signal that `work` got is aborted then. */
export async function inTime<T>(
  { clock, limitMs, signal, isWaiting, hint }: InTime,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const tooLate = new AbortController();
  let timer: Timer | undefined;
  const wait = () => {
    timer = clock.after(limitMs, () => (isWaiting?.() ? wait() : tooLate.abort(tooSlow(limitMs, hint))));
  };
  if (Number.isFinite(limitMs)) wait();
  const either = AbortSignal.any([signal, tooLate.signal]);
  try {
    return await untilAborted(either, work(either));
  } finally {
    timer?.cancel();
  }
}

function tooSlow(ms: number, hint = "again, or a longer fetchTimeout in the profile"): ProviderError {
  return new ProviderError("unavailable", `no answer within ${ms / 1000} s`, { hint });
}

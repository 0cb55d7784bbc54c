/**
 * Repeats what may be repeated: full-jitter backoff on the provider's clock, the wait that the service asks for
 * honoured. When the next try would come too late, the last error is the answer: it says more than a timeout.
 */
import { type Clock, pause } from "../../src/clock.ts";
import { AzureError } from "./azure-error.ts";

/** Ms after the first try in which another may begin; the usual `fetchTimeout` is 10 s. */
const BUDGET_MS = 5_000;
const MOST_TRIES = 5;
const FIRST_DELAY_MS = 200;
const MOST_DELAY_MS = 3_000;

/** @param mayRepeat whether a failure allows another try */
export async function retrying<T>(
  clock: Clock,
  signal: AbortSignal,
  mayRepeat: (error: AzureError) => boolean,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = clock.monotonic();
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AzureError) || !mayRepeat(error) || tries === MOST_TRIES) throw error;
      const most = Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** (tries - 1));
      const delay = (error.retryAfterMs ?? 0) + Math.random() * most;
      if (clock.monotonic() + delay - startedAt > BUDGET_MS) throw error;
      await pause(clock, delay, signal);
    }
  }
}

/**
 * The wait of a `Retry-After` header, RFC 9110 section 10.2.3: seconds, or a date.
 *
 * @param now ms since the epoch
 * @returns ms; undefined for nothing that could be waited for
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return ms > 0 ? ms : undefined;
}

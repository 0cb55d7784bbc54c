/** Asks again where that may help: full-jitter backoff on the injected clock, and never past the signal. */
import { type Clock, pause } from "../../src/clock.ts";
import { AwsError } from "./aws-error.ts";

const ATTEMPTS = 5;
const FIRST_MS = 100;
const LONGEST_MS = 3_000;
/** A service that asks for more than this will not be back within a start. */
const LONGEST_RETRY_AFTER_MS = 20_000;

/**
 * Runs `attempt` until it succeeds, fails for good, or has failed five times.
 *
 * @param mayRepeat what may be asked again at all: a write only where the service has surely not done it
 */
export async function withRetries<T>(
  clock: Clock,
  signal: AbortSignal,
  mayRepeat: (error: AwsError) => boolean,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AwsError) || !error.isPassing || !mayRepeat(error) || tries === ATTEMPTS)
        throw error;
      if ((error.retryAfterMs ?? 0) > LONGEST_RETRY_AFTER_MS) throw error;
      const backoff = Math.random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** tries);
      await pause(clock, Math.max(backoff, error.retryAfterMs ?? 0), signal);
    }
  }
}

/** Whether there is a metadata service at all: without one, asking it for a token would take the whole time there is. */
import http from "node:http";
import type { Clock } from "../../../src/clock.ts";

/** Ms; the SDK's own limit for the same question. */
const PATIENCE_MS = 1_000;

/**
 * True if anything answers there. Without the header `Metadata: true` the service refuses at once, and gives nothing
 * away. Rejects only with the signal's reason.
 */
export async function doesAnswer(url: string, clock: Clock, signal: AbortSignal): Promise<boolean> {
  signal.throwIfAborted();
  const answered = await new Promise<boolean>((resolve) => {
    const request = http.get(url, { signal, agent: false }, (response) => {
      resolve(true);
      response.destroy();
    });
    const timer = clock.after(PATIENCE_MS, () => request.destroy(), { background: true });
    request.on("error", () => resolve(false));
    request.on("close", () => {
      timer.cancel();
      resolve(false);
    });
  });
  signal.throwIfAborted();
  return answered;
}

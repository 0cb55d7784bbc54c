/**
 * One writer at a time, over all processes of the machine. The lock is the directory `FILE.lock`; its owner
 * touches it every second, so one whose owner was killed is taken over after five.
 */
import type { Clock } from "../../src/clock.ts";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { shellWord } from "../../src/shell-word.ts";
import { fileError } from "./file-error.ts";

/** Ms that a writer waits for another. */
const PATIENCE_MS = 10_000;
const STALE_MS = 5_000;
const TOUCH_MS = 1_000;
/** Ms between two tries: at least, and at random more. */
const RETRY_MS = 15;
const RETRY_SPREAD_MS = 30;

/**
 * Runs `work` while no other mcp-run writes `path`; its directory must exist.
 * Throws ProviderError `unavailable` if another one holds the lock for 10 s, or what `work` throws.
 */
export async function withWriteLock<T>(
  path: string,
  clock: Clock,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const release = await acquire(path, clock, signal);
  try {
    return await work();
  } finally {
    await release().catch(() => undefined); // Lost or unremovable: it goes stale by itself.
  }
}

async function acquire(path: string, clock: Clock, signal: AbortSignal): Promise<() => Promise<void>> {
  const { default: lockfile } = await import("proper-lockfile");
  const lockPath = `${path}.lock`;
  const until = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await lockfile.lock(path, {
        lockfilePath: lockPath,
        realpath: false,
        stale: STALE_MS,
        update: TOUCH_MS,
        onCompromised: ignoreLoss,
      });
    } catch (error) {
      if (systemErrorCode(error) !== "ELOCKED") throw fileError(error, "made", lockPath);
    }
    if (clock.monotonic() >= until) {
      throw new ProviderError("unavailable", `another mcp-run has held ${lockPath} for 10 s`, {
        hint: `again, or rmdir ${shellWord(lockPath)} if no other mcp-run is running`,
      });
    }
    await new Promise<void>((resolve) => {
      clock.after(RETRY_MS + Math.random() * RETRY_SPREAD_MS, resolve);
    });
  }
}

function ignoreLoss(): void {
  // A lock can be lost while the machine sleeps: a write replaces only the very file that it has read.
}

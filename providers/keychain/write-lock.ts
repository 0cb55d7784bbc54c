/**
 * One writer at a time among the mcp-runs of this user, since a keychain can't compare and set in one step. Other
 * programs know nothing of it. The lock is a directory that its owner touches every second, so that one whose owner
 * was killed is taken over after five.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { shellWord } from "../../src/shell-word.ts";

/** Ms that a writer waits for another, before whom a dialog may be open. */
const PATIENCE_MS = 60_000;
const STALE_MS = 5_000;
const TOUCH_MS = 1_000;
/** Ms between two tries: at least, and at random more. */
const RETRY_MS = 15;
const RETRY_SPREAD_MS = 30;

/** Throws ProviderError if the lock can't be had, else what `work` throws. */
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
  const until = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      return await lockfile.lock(path, {
        lockfilePath: path,
        realpath: false,
        stale: STALE_MS,
        update: TOUCH_MS,
        onCompromised: ignoreLoss,
      });
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      if (code !== "ELOCKED") {
        throw new ProviderError("unavailable", `the lock ${path} can't be made (${code})`, {
          hint: `ls -ld ${shellWord(dirname(path))}, to see who may write there`,
        });
      }
    }
    if (clock.monotonic() >= until) {
      throw new ProviderError("unavailable", `another mcp-run has held ${path} for ${PATIENCE_MS / 1000} s`, {
        hint: `again, or rmdir ${shellWord(path)} if no other mcp-run is running`,
      });
    }
    await new Promise<void>((resolve) => {
      clock.after(RETRY_MS + Math.random() * RETRY_SPREAD_MS, resolve);
    });
  }
}

function ignoreLoss(): void {
  // Only while the machine sleeps for seconds in the middle of a write: nothing better can be done then.
}

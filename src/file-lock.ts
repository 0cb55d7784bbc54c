/**
 * One writer at a time, over all mcp-runs of the machine; other programs know nothing of it. The lock is a directory
 * that its owner touches every second, so that one whose owner was killed is taken over after five. It can be lost
 * while the machine sleeps: whoever can, checks what a write replaces.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "./clock.ts";
import { ProviderError, systemErrorCode } from "./errors.ts";
import { shellWord } from "./shell-word.ts";

const STALE_MS = 5_000;
const TOUCH_MS = 1_000;
/** Ms between two tries: at least, and at random more. */
const RETRY_MS = 15;
const RETRY_SPREAD_MS = 30;

export interface FileLock {
  /** Of the directory that is the lock. */
  readonly path: string;
  /** Makes the folder that the lock is in, for its owner alone; without it that folder must exist. */
  readonly makesFolder?: true;
  /** Whoever has it is known to live, though he may be stopped: it is not taken over from him. */
  readonly isOfTheLiving?: boolean;
  /** Ms that a writer waits for another. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What is thrown when the system refuses to make the lock, for the error that it gave. */
  readonly refused: (error: unknown) => ProviderError;
}

/**
 * Runs `work` while no other mcp-run holds the lock. Throws ProviderError `unavailable` if another one holds it for
 * `patienceMs`, what `refused` makes, the signal's reason, or what `work` throws.
 */
export async function withFileLock<T>(lock: FileLock, work: () => Promise<T>): Promise<T> {
  const release = await takeFileLock(lock);
  try {
    return await work();
  } finally {
    await release();
  }
}

/** Likewise, for whoever holds it over more than one function; what it resolves with gives it back, and never rejects. */
export async function takeFileLock(lock: FileLock): Promise<() => Promise<void>> {
  const { default: lockfile } = await import("proper-lockfile");
  const { path, makesFolder, isOfTheLiving, patienceMs, clock, signal } = lock;
  const until = clock.monotonic() + patienceMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      if (makesFolder) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const release = await lockfile.lock(path, {
        lockfilePath: path,
        realpath: false,
        stale: isOfTheLiving ? Number.POSITIVE_INFINITY : STALE_MS,
        update: TOUCH_MS,
        onCompromised: ignoreLoss,
      });
      return () => release().catch(() => undefined); // Lost or unremovable: it goes stale by itself.
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      if (code !== "ELOCKED") throw lock.refused(error);
    }
    if (clock.monotonic() >= until) {
      throw new ProviderError("unavailable", `another mcp-run has held ${path} for ${patienceMs / 1000} s`, {
        hint: `again, or rmdir ${shellWord(path)} if no other mcp-run is running`,
      });
    }
    await new Promise<void>((resolve) => {
      clock.after(RETRY_MS + Math.random() * RETRY_SPREAD_MS, resolve);
    });
  }
}

function ignoreLoss(): void {
  // Nothing better can be done in the middle of a write.
}

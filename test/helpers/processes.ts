/** Looking at real processes from a test: conditions are waited for, never slept for. */
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";

/** For a program that is waited for with everything else at a standstill: no test's time limit ends that. */
export const BOUNDED = { timeout: 55_000, killSignal: "SIGKILL" } as const;

/** Resolves once `condition` holds; rejects with `what` after `ms`. */
export async function until(what: string, condition: () => boolean, ms = 60_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** True for a process that runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return process.platform !== "linux";
  }
}

/** True for one that was sent SIGSTOP, as Linux shows it. */
export function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
  } catch {
    return false;
  }
}

/** The first line that `stream` gives, without its newline. */
export function firstLine(stream: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf("\n");
      if (end < 0) return;
      stream.off("data", take);
      resolve(text.slice(0, end));
    };
    stream.on("data", take);
    stream.once("end", () => reject(new Error(`no line, only: ${text}`)));
  });
}

/** Kills what a failed test may have left. */
export function killAll(pids: Iterable<number>): void {
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL");
}

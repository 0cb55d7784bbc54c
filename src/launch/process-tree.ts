/**
 * One program that we started and everything that came of it: its group, its session, and its descendants
 * by parent, also those that made a group of their own. A process is signalled only while it is certain
 * that its pid still means the same process: before the program is reaped its pid can't be given away, and
 * afterwards a living process of that pid shows that the group of the same number is no longer ours.
 */
import { spawnSync } from "node:child_process";
import { systemErrorCode } from "../errors.ts";
import { livingProcess, livingProcesses, type ProcessRecord } from "./process-table.ts";

export interface ProcessTreeOptions {
  /** True if the program leads a group and session of its own; false if it shares ours (a terminal). */
  readonly ownGroup: boolean;
  readonly platform: NodeJS.Platform;
}

export class ProcessTree {
  readonly pid: number;
  readonly #ownGroup: boolean;
  readonly #platform: NodeJS.Platform;
  /** Everything seen so far, by pid, with its start: a daemon stays known after its parent has gone. */
  readonly #seen = new Map<number, string>();
  #reaped = false;

  constructor(pid: number, { ownGroup, platform }: ProcessTreeOptions) {
    this.pid = pid;
    this.#ownGroup = ownGroup && platform !== "win32";
    this.#platform = platform;
  }

  /** To be called in the tick in which Node reports the exit: from now on the pid is not ours. */
  markReaped(): void {
    this.#reaped = true;
  }

  /** Looks who is there now, so that those who leave the group and lose their parent later are still found. */
  look(): readonly ProcessRecord[] {
    const family = familyOf(this.pid, livingProcesses(this.#platform), {
      ownGroup: this.#ownGroup,
      reaped: this.#reaped,
      seen: this.#seen,
    });
    for (const { pid, startedAt } of family) this.#seen.set(pid, startedAt);
    return family;
  }

  /** Sends a signal to the group, or to the program alone where it shares ours; to nobody once it is reaped. */
  signalGroup(signal: NodeJS.Signals): void {
    if (this.#reaped || this.#platform === "win32") return;
    send(this.#ownGroup ? -this.pid : this.pid, signal);
  }

  /** Sends a signal to everything that can be found. */
  signalAll(signal: NodeJS.Signals): void {
    if (this.#platform === "win32") {
      // taskkill finds the tree by its root only; /F because console programs ignore the polite form.
      if (!this.#reaped) spawnSync("taskkill", ["/PID", String(this.pid), "/T", "/F"], { windowsHide: true });
      return;
    }
    const family = this.look();
    const inGroup = (process: ProcessRecord) => this.#ownGroup && process.group === this.pid;
    if (family.some(inGroup)) send(-this.pid, signal);
    for (const process of family) if (!inGroup(process)) send(process.pid, signal);
  }

  /** True while anything that was ever seen of this tree lives; cheaper than `look`. */
  hasSurvivors(): boolean {
    if (this.#platform === "win32") return !this.#reaped;
    if (!this.#reaped) return true;
    for (const [pid, startedAt] of this.#seen) {
      if (livingProcess(pid, this.#platform)?.startedAt === startedAt) return true;
      this.#seen.delete(pid);
    }
    return false;
  }
}

interface FamilyOptions {
  readonly ownGroup: boolean;
  /** True once the program itself has been reaped. */
  readonly reaped: boolean;
  /** Pids that belonged to it before, with their start. */
  readonly seen: ReadonlyMap<number, string>;
}

/** The program, its group and session, what was seen of it before, and all descendants of those. */
export function familyOf(
  root: number,
  processes: readonly ProcessRecord[],
  { ownGroup, reaped, seen }: FamilyOptions,
): readonly ProcessRecord[] {
  const recycled = reaped && processes.some(({ pid }) => pid === root);
  const byGroup = ownGroup && !recycled;
  const family = new Map<number, ProcessRecord>();
  for (const process of processes) {
    const isRoot = process.pid === root && !reaped;
    const isMember = byGroup && (process.group === root || process.session === root);
    if (isRoot || isMember || seen.get(process.pid) === process.startedAt) family.set(process.pid, process);
  }
  for (let size = -1; size !== family.size; ) {
    size = family.size;
    for (const process of processes) if (family.has(process.parent)) family.set(process.pid, process);
  }
  return [...family.values()];
}

function send(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch (error) {
    // Gone already, or it changed its user and is beyond us.
    if (!["ESRCH", "EPERM"].includes(systemErrorCode(error) ?? "")) throw error;
  }
}

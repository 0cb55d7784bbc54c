/** Who runs, and whose child, group and session it is: from /proc where there is one, else from `ps`. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { systemErrorCode } from "../errors.ts";

export interface ProcessRecord {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** Undefined where the platform does not tell. */
  readonly session: number | undefined;
  /** When it started, in the platform's own words: with the pid, it names one process for good. */
  readonly startedAt: string;
}

/** Every living process that we may see; zombies are left out. Empty on Windows and where nothing tells. */
export function livingProcesses(platform: NodeJS.Platform): readonly ProcessRecord[] {
  if (platform === "win32") return [];
  if (platform !== "linux") return processesFromPs();
  const found: ProcessRecord[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const process = Number.isInteger(pid) ? processFromProc(pid) : undefined;
    if (process) found.push(process);
  }
  return found;
}

/** One living process, or undefined if it is gone or a zombie. */
export function livingProcess(pid: number, platform: NodeJS.Platform): ProcessRecord | undefined {
  if (platform === "linux") return processFromProc(pid);
  return livingProcesses(platform).find((process) => process.pid === pid);
}

function processFromProc(pid: number): ProcessRecord | undefined {
  try {
    return parseProcStat(pid, readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch (error) {
    // It ended while we looked, or it is hidden from us (hidepid).
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(systemErrorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** proc_pid_stat(5). The second field is the program's own choice and may hold blanks, brackets and newlines. */
export function parseProcStat(pid: number, stat: string): ProcessRecord | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, parent, group, session] = fields;
  const startedAt = fields[19];
  if (startedAt === undefined || state === "Z" || state === "X") return undefined;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), startedAt };
}

function processesFromPs(): readonly ProcessRecord[] {
  const columns = ["pid=", "ppid=", "pgid=", "stat=", "lstart="].flatMap((column) => ["-o", column]);
  const output = execFileSync("ps", ["-A", ...columns], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  return parsePs(output);
}

/** The output of `ps -A -o pid= -o ppid= -o pgid= -o stat= -o lstart=` (POSIX, and lstart of BSD and procps). */
export function parsePs(output: string): readonly ProcessRecord[] {
  const found: ProcessRecord[] = [];
  for (const line of output.split("\n")) {
    const [pid, parent, group, state, ...startedAt] = line.trim().split(/\s+/);
    if (!state || state.startsWith("Z")) continue;
    found.push({
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      session: undefined,
      startedAt: startedAt.join(" "),
    });
  }
  return found;
}

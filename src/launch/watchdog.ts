/**
 * A tiny `/bin/sh` that outlives us if we are killed with SIGKILL, and then kills what we had started. It
 * hangs on a pipe that only we hold open, has a session of its own, no environment and none of our streams.
 * On our ordinary end it is told so and goes without touching anybody. What it does stands in
 * watchdog-script.ts; what is beyond it, in docs/stopping.md.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { livingProcess } from "./process-table.ts";
import { WATCHDOG_SCRIPT } from "./watchdog-script.ts";

export interface Watchdog {
  /**
   * From now on the program and all that comes of it die with us. To be called in the tick of the spawn.
   * @param scope `group` if the program leads its own group and session, `tree` if it shares ours
   */
  watch(pid: number, scope: "group" | "tree"): void;
  /** The program and all that came of it have gone: its pid may soon be somebody else's. */
  forget(pid: number): void;
  /** We end as we should: nothing is killed. May be called twice. */
  dismiss(): void;
  /** Undefined where there is none. */
  readonly pid: number | undefined;
}

export interface WatchdogOptions {
  readonly platform: NodeJS.Platform;
  /** Called at most once: there is no `/bin/sh`, or the watchdog was killed. */
  readonly onMissing?: () => void;
  readonly shell?: readonly [string, ...string[]];
}

const NO_WATCHDOG: Watchdog = {
  watch: () => undefined,
  forget: () => undefined,
  dismiss: () => undefined,
  pid: undefined,
};

/** Starts the watchdog; before the program, so that it is there when the program is. None on Windows. */
export function startWatchdog({ platform, onMissing, shell = ["/bin/sh"] }: WatchdogOptions): Watchdog {
  if (platform === "win32") return NO_WATCHDOG;
  const [program, ...before] = shell;
  const sh = spawn(program, [...before, "-c", WATCHDOG_SCRIPT, "mcp-run-watchdog"], {
    env: {},
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  return new ShellWatchdog(sh, platform, onMissing);
}

class ShellWatchdog implements Watchdog {
  readonly #sh: ChildProcess;
  readonly #platform: NodeJS.Platform;
  #dismissed = false;

  constructor(sh: ChildProcess, platform: NodeJS.Platform, onMissing: (() => void) | undefined) {
    this.#sh = sh;
    this.#platform = platform;
    let reported = false;
    const report = () => {
      if (!this.#dismissed && !reported) onMissing?.();
      reported = true;
    };
    sh.once("error", report);
    sh.once("exit", report);
    // A write to one that has gone: `exit` tells.
    sh.stdin?.on("error", report);
    sh.unref();
    if (sh.stdin && "unref" in sh.stdin && typeof sh.stdin.unref === "function") sh.stdin.unref();
  }

  get pid(): number | undefined {
    return this.#sh.pid;
  }

  watch(pid: number, scope: "group" | "tree"): void {
    // Only /proc names a start so that the script can read it too.
    const startedAt = this.#platform === "linux" ? livingProcess(pid, this.#platform)?.startedAt : undefined;
    this.#tell(`watch ${pid} ${startedAt ?? "-"} ${scope}`);
  }

  forget(pid: number): void {
    this.#tell(`forget ${pid}`);
  }

  dismiss(): void {
    if (this.#dismissed) return;
    this.#dismissed = true;
    this.#tell("bye");
    this.#sh.stdin?.end();
  }

  /** libuv writes to an empty pipe at once, so the line is out before this returns. */
  #tell(line: string): void {
    if (this.#sh.stdin?.writable) this.#sh.stdin.write(`${line}\n`);
  }
}

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { livingProcess, livingProcesses } from "../../src/launch/process-table.ts";
import { WATCHDOG_SCRIPT } from "../../src/launch/watchdog-script.ts";
import { firstLine, isAlive, killAll, until } from "../helpers/processes.ts";

const STUBBORN = join(import.meta.dirname, "../helpers/servers/stubborn.mjs");
const SHELLS = [["dash"], ["bash"], [process.env.BUSYBOX ?? "busybox", "sh"]].filter(
  ([program, ...args]) => spawnSync(program as string, [...args, "-c", ":"]).error === undefined,
);

const started = new Set<number>();
afterEach(() => {
  killAll(started);
  started.clear();
});

describe.each(SHELLS)("the watchdog's script under %s", (...shell: string[]) => {
  it("kills a nested server and the helper that left its group at the end of input", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.write(`watch ${leader} ${startOf(leader)} group\n`);

    watchdog.stdin?.end();
    await until("everybody is gone", () => !pids.some(isAlive));

    await ended(watchdog);
  });

  it("kills by parentage alone where the program shares the launcher's group", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.write(`watch ${leader} ${startOf(leader)} tree\n`);

    watchdog.stdin?.end();

    await until("everybody is gone", () => !pids.some(isAlive));
  });

  it("finds what is left of a group whose leader has gone", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.write(`watch ${leader} ${startOf(leader)} group\n`);
    process.kill(leader, "SIGKILL");
    await until("the leader is gone", () => livingProcess(leader, process.platform) === undefined);

    watchdog.stdin?.end();

    await until("everybody is gone", () => !pids.some(isAlive));
  });

  it("kills nobody after the farewell", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.end(`watch ${leader} ${startOf(leader)} group\nbye\n`);

    expect(await ended(watchdog)).toEqual([0, null]);

    expect(pids.filter(isAlive)).toEqual(pids);
  });

  it("kills nobody that it was told to forget", async () => {
    const [kept, gone] = [await startFamily(), await startFamily()];
    const watchdog = startScript(shell);
    const lines = [kept, gone].map(({ leader }) => `watch ${leader} ${startOf(leader)} group\n`);
    watchdog.stdin?.end(`${lines.join("")}forget ${kept.leader}\n`);

    expect(await ended(watchdog)).toEqual([0, null]);

    expect(kept.pids.filter(isAlive)).toEqual(kept.pids);
    await until("the other one is gone", () => !gone.pids.some(isAlive));
  });

  it.runIf(process.platform === "linux")("spares a process that has only the same pid", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.end(`watch ${leader} 1${startOf(leader)} group\n`);

    expect(await ended(watchdog)).toEqual([0, null]);

    expect(pids.filter(isAlive)).toEqual(pids);
  });

  it("survives every signal that a terminal or a client sends", async () => {
    const { leader, pids } = await startFamily();
    const watchdog = startScript(shell);
    watchdog.stdin?.write(`watch ${leader} ${startOf(leader)} group\n`);
    const signals = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGTERM"] as const;
    await until("its traps are set", () =>
      signals.every((signal) => ignores(watchdog.pid as number, signal)),
    );

    for (const signal of signals) watchdog.kill(signal);
    watchdog.stdin?.end();

    await until("everybody is gone", () => !pids.some(isAlive));
  });
});

describe("the watchdog's script", () => {
  it("asks ps where there is no /proc", async () => {
    const { leader, pids } = await startFamily();
    const script = WATCHDOG_SCRIPT.replaceAll("/proc/", "/no-proc/");
    const watchdog = startScript(["/bin/sh"], script);

    watchdog.stdin?.end(`watch ${leader} - group\n`);

    await until("everybody is gone", () => !pids.some(isAlive));
  });

  it.runIf(process.platform === "linux")("walks past a process whose name holds a newline", async () => {
    const rename = "require('fs').writeFileSync('/proc/self/comm', 'a) S 1\\n(b'); console.log('up')";
    const wait = "process.stdin.resume()";
    const parent = `${rename}; require('child_process').spawn('sleep', ['60'], { detached: true }); ${wait}`;
    const odd = spawn(process.execPath, ["-e", parent], {
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
    });
    started.add(odd.pid as number);
    await firstLine(odd.stdout);
    await until("its child runs", () => childrenOf(odd.pid as number).length === 1);
    const pids = [odd.pid as number, ...childrenOf(odd.pid as number)];
    const watchdog = startScript(["/bin/sh"]);

    watchdog.stdin?.end(`watch ${odd.pid} ${startOf(odd.pid as number)} tree\n`);

    await until("both are gone", () => !pids.some(isAlive));
  });
});

function childrenOf(pid: number): number[] {
  return livingProcesses(process.platform)
    .filter(({ parent }) => parent === pid)
    .map((process) => process.pid);
}

function startScript(shell: readonly string[], script = WATCHDOG_SCRIPT): ChildProcess {
  const [program, ...args] = shell;
  const watchdog = spawn(program as string, [...args, "-c", script], {
    // bash is /bin/sh on many systems and then acts like it; busybox goes by this name
    argv0: args.length > 0 ? "busybox" : "sh",
    env: {},
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  started.add(watchdog.pid as number);
  return watchdog;
}

/** As npx nests: a shell that waits for node, whose helper is in a session of its own. */
async function startFamily(): Promise<{ leader: number; pids: readonly number[] }> {
  const command = `'${process.execPath}' '${STUBBORN}'; exit $?`;
  const sh = spawn("/bin/sh", ["-c", command], { detached: true, stdio: ["pipe", "pipe", "inherit"] });
  started.add(sh.pid as number);
  const { pids } = JSON.parse(await firstLine(sh.stdout)).params as { pids: number[] };
  for (const pid of pids) started.add(pid);
  return { leader: sh.pid as number, pids: [sh.pid as number, ...pids] };
}

function startOf(pid: number): string {
  return process.platform === "linux" ? (livingProcess(pid, "linux")?.startedAt as string) : "-";
}

function ended(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve([child.exitCode, child.signalCode]);
    child.once("exit", (code, signal) => resolve([code, signal]));
  });
}

function ignores(pid: number, signal: NodeJS.Signals): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n;
}

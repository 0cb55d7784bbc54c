import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessRecord } from "../../src/launch/process-table.ts";
import { familyOf, ProcessTree } from "../../src/launch/process-tree.ts";
import { firstLine, isAlive, killAll, until } from "../helpers/processes.ts";

const STUBBORN = join(import.meta.dirname, "../helpers/servers/stubborn.mjs");
const platform = process.platform;

const started = new Set<number>();
afterEach(() => {
  killAll(started);
  started.clear();
});

function record(pid: number, parent: number, group: number, session = group): ProcessRecord {
  return { pid, parent, group, session, startedAt: `start of ${pid}` };
}

describe("who belongs to a program", () => {
  const processes = [
    record(1, 0, 1),
    record(100, 1, 100),
    record(101, 100, 100),
    record(102, 101, 102, 102),
    record(103, 102, 103, 103),
    record(104, 1, 104, 100),
    record(105, 1, 100, 100),
    record(200, 1, 200),
    record(201, 200, 200),
  ];
  const family = (options: Partial<Parameters<typeof familyOf>[2]>, among = processes) =>
    familyOf(100, among, { ownGroup: true, reaped: false, seen: new Map(), ...options })
      .map(({ pid }) => pid)
      .sort();

  it("is its group, its session, and every descendant in any group", () => {
    expect(family({})).toEqual([100, 101, 102, 103, 104, 105]);
  });

  it("is only itself and its descendants where it shares our group", () => {
    expect(family({ ownGroup: false })).toEqual([100, 101, 102, 103]);
  });

  it("is what is left of it once it has been reaped", () => {
    const orphaned = processes
      .filter(({ pid }) => pid !== 100)
      .map((process) => (process.parent === 100 ? { ...process, parent: 1 } : process));

    expect(family({ reaped: true }, orphaned)).toEqual([101, 102, 103, 104, 105]);
  });

  it("is nobody of its group once its pid is somebody else's", () => {
    expect(family({ reaped: true })).toEqual([]);
  });

  it("includes a daemon that was seen while it still had a parent, but nobody who only got its pid", () => {
    const daemon = [record(1, 0, 1), record(300, 1, 300), record(301, 300, 301)];

    expect(family({ reaped: true, seen: new Map([[300, "start of 300"]]) }, daemon)).toEqual([300, 301]);
    expect(family({ reaped: true, seen: new Map([[300, "earlier"]]) }, daemon)).toEqual([]);
  });
});

describe.skipIf(platform === "win32")("signalling a tree", () => {
  it("reaches the group, and nobody outside of it", async () => {
    const { leader, pids, helper } = await stubbornFamily();
    const tree = new ProcessTree(leader.pid as number, { ownGroup: true, platform });

    tree.signalGroup("SIGKILL");
    await until("the group is gone", () => !pids.some(isAlive));

    expect(isAlive(helper)).toBe(true);
  });

  it("reaches everybody, also a helper in a session of its own", async () => {
    const { leader, pids, helper } = await stubbornFamily();
    const tree = new ProcessTree(leader.pid as number, { ownGroup: true, platform });

    tree.signalAll("SIGKILL");

    await until("everybody is gone", () => ![...pids, helper].some(isAlive));
  });

  it("still reaches such a helper when its parents have gone, if it was seen before", async () => {
    const { leader, pids, helper } = await stubbornFamily();
    const tree = new ProcessTree(leader.pid as number, { ownGroup: true, platform });
    tree.look();
    const reaped = once(leader, "exit");
    tree.signalGroup("SIGKILL");
    await reaped;
    tree.markReaped();
    await until("the group is gone", () => !pids.some(isAlive));
    expect(tree.hasSurvivors()).toBe(true);

    tree.signalAll("SIGKILL");

    await until("the helper is gone", () => !tree.hasSurvivors());
    expect(isAlive(helper)).toBe(false);
  });

  it("reaches the program alone where it shares our group", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    const other = spawn("sleep", ["60"], { stdio: "ignore" });
    for (const { pid } of [child, other]) started.add(pid as number);
    const tree = new ProcessTree(child.pid as number, { ownGroup: false, platform });

    tree.signalGroup("SIGTERM");

    expect(await once(child, "exit")).toEqual([null, "SIGTERM"]);
    expect(isAlive(other.pid as number)).toBe(true);
  });

  it("reaches nobody by a pid that has been reaped", async () => {
    const child = spawn("true", { detached: true, stdio: "ignore" });
    const tree = new ProcessTree(child.pid as number, { ownGroup: true, platform });
    await once(child, "exit");
    tree.markReaped();
    const real = process.kill;
    const targets: number[] = [];
    process.kill = (pid) => {
      targets.push(pid);
      return true;
    };

    try {
      tree.signalGroup("SIGKILL");
      tree.signalAll("SIGKILL");
    } finally {
      process.kill = real;
    }

    expect(targets).toEqual([]);
    expect(tree.hasSurvivors()).toBe(false);
  });

  it("is no failure where there is nobody left", async () => {
    const child = spawn("true", { detached: true, stdio: "ignore" });
    const tree = new ProcessTree(child.pid as number, { ownGroup: true, platform });
    await once(child, "exit");

    expect(() => tree.signalGroup("SIGTERM")).not.toThrow();
    expect(() => tree.signalAll("SIGKILL")).not.toThrow();
  });
});

async function stubbornFamily(): Promise<{ leader: ChildProcess; pids: number[]; helper: number }> {
  const command = `'${process.execPath}' '${STUBBORN}'; exit $?`;
  const leader = spawn("/bin/sh", ["-c", command], { detached: true, stdio: ["pipe", "pipe", "inherit"] });
  started.add(leader.pid as number);
  const { pids } = JSON.parse(await firstLine(leader.stdout)).params as { pids: [number, number] };
  for (const pid of pids) started.add(pid);
  return { leader, pids: [leader.pid as number, pids[0]], helper: pids[1] };
}

import { spawn } from "node:child_process";
import { afterEach, describe, expect, it } from "vitest";
import { livingProcess, livingProcesses, parseProcStat, parsePs } from "../../src/launch/process-table.ts";
import { killAll, until } from "../helpers/processes.ts";

const started = new Set<number>();
afterEach(() => {
  killAll(started);
  started.clear();
});

describe("a line of /proc/PID/stat", () => {
  const rest = "S 10 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 100 200 18446744073709551615";

  it.each(["node", "a b", "x) S 1 2 3", "a)\n(b", "((", ")"])(
    "is read whatever the program calls itself: %j",
    (name) => {
      expect(parseProcStat(7, `7 (${name}) ${rest}\n`)).toEqual({
        pid: 7,
        parent: 10,
        group: 20,
        session: 30,
        startedAt: "987654",
      });
    },
  );

  it.each(["Z", "X"])("is no living process in state %s", (state) => {
    expect(parseProcStat(7, `7 (node) ${rest.replace("S", state)}\n`)).toBeUndefined();
  });

  it("is no process at all if it is cut", () => {
    expect(parseProcStat(7, "7 (node) S 10 20")).toBeUndefined();
    expect(parseProcStat(7, "")).toBeUndefined();
  });
});

describe("the output of ps", () => {
  it("is read without zombies, and keeps the start as one word", () => {
    const output =
      "    1     0     1 Ss   Mon Nov 17 10:00:00 2025\n" +
      "  812     1   812 S+   Mon Nov 17 10:00:01 2025\n" +
      "  813   812   812 Z    Mon Nov 17 10:00:02 2025\n\n";

    expect(parsePs(output)).toEqual([
      { pid: 1, parent: 0, group: 1, session: undefined, startedAt: "Mon Nov 17 10:00:00 2025" },
      { pid: 812, parent: 1, group: 812, session: undefined, startedAt: "Mon Nov 17 10:00:01 2025" },
    ]);
  });
});

describe.skipIf(process.platform === "win32")("the living processes", () => {
  it("include a child, with its parent, group and session", () => {
    const child = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
    started.add(child.pid as number);

    const found = livingProcesses(process.platform).find(({ pid }) => pid === child.pid);

    expect(found).toMatchObject({ parent: process.pid, group: child.pid });
    if (process.platform === "linux") expect(found?.session).toBe(child.pid);
    expect(livingProcess(child.pid as number, process.platform)).toEqual(found);
  });

  it("do not include one that has ended and waits to be reaped", async () => {
    const parent = spawn("/bin/sh", ["-c", "true & exec sleep 60"], { detached: true, stdio: "ignore" });
    started.add(parent.pid as number);

    await until("only the parent is left", () => {
      const group = livingProcesses(process.platform).filter((found) => found.group === parent.pid);
      return group.length === 1 && group[0]?.pid === parent.pid;
    });

    expect(livingProcess(parent.pid as number, process.platform)).toBeDefined();
  });

  it.runIf(process.platform === "linux")("are the same when ps is asked", () => {
    const ours = ({ parent, pid }: { parent: number; pid: number }) =>
      pid === process.pid || pid === process.ppid || parent === 1;

    const [fromProc, fromPs] = [
      livingProcesses("linux").filter(ours),
      livingProcesses("darwin").filter(ours),
    ];

    const links = (found: typeof fromProc) => found.map(({ pid, parent, group }) => [pid, parent, group]);
    expect(links(fromPs)).toEqual(
      expect.arrayContaining(links(fromProc.filter(({ pid }) => pid === process.pid))),
    );
    expect(fromPs.every(({ startedAt }) => startedAt.length > 10)).toBe(true);
  });
});

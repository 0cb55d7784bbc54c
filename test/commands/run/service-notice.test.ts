/** What a service says of itself; `systemd-notify` is a script that notes what it was given. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serviceNotice } from "../../../src/commands/run/service-notice.ts";
import type { NoticeOptions } from "../../../src/commands/run/systemd.ts";
import type { McpRunEvent } from "../../../src/events.ts";
import { until } from "../../helpers/processes.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

/** Of nobody: beyond what Linux and macOS give out. */
const DEAD_PID = 99_999_999;

let folder: string;
let clock: VirtualClock;
let said: McpRunEvent[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-notice-"));
  clock = new VirtualClock();
  said = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

function notifyProgram(script = 'printf "%s|" "$@" >>"$NOTIFY_SOCKET"; echo >>"$NOTIFY_SOCKET"'): void {
  writeFileSync(join(folder, "systemd-notify"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

function told(): readonly string[] {
  const file = join(folder, "told");
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
}

function notice(env: Record<string, string>, changes: Partial<NoticeOptions> = {}) {
  return serviceNotice({
    context: {
      env: { PATH: `${folder}${delimiter}/usr/bin${delimiter}/bin`, ...env },
      clock,
      printer: { emit: (event) => said.push(event) },
    },
    profile: { name: "p" },
    control: { state: () => "serving" },
    refreshing: { server: { pid: process.pid, generation: 1 } },
    ...changes,
  });
}

describe.skipIf(process.platform === "win32")("the notice to a service manager", () => {
  it("is none where nobody has asked for it", async () => {
    notifyProgram("exit 1");
    const none = notice({ WATCHDOG_USEC: "1000000" });

    none.runs();
    none.stopping();
    await none.close();

    expect([told(), said, clock.pending]).toEqual([[], [], 0]);
  });

  it("comes in order, and its program gets no variable but two", async () => {
    notifyProgram(`env >"${folder}/env"; printf "%s|" "$@" >>"$NOTIFY_SOCKET"; echo >>"$NOTIFY_SOCKET"`);
    const service = notice({ NOTIFY_SOCKET: join(folder, "told"), VAULT_TOKEN: "canary-token" });

    service.runs();
    service.runs();
    service.stopping();
    await service.close();

    const status = `STATUS=generation 1 of p started, server ${process.pid}|`;
    expect(told()).toEqual([`READY=1|${status}`, status, "STOPPING=1|STATUS=stopping p|"]);
    const names = readFileSync(join(folder, "env"), "utf8").match(/^\w+(?==)/gm) ?? [];
    expect(names.filter((name) => !["PWD", "SHLVL", "_", "OLDPWD"].includes(name)).sort()).toEqual([
      "NOTIFY_SOCKET",
      "PATH",
    ]);
  });

  it("does not call a server ready that has gone", async () => {
    notifyProgram();
    const refreshing = { server: { pid: DEAD_PID, generation: 1 } };
    const service = notice({ NOTIFY_SOCKET: join(folder, "told") }, { refreshing });

    service.runs();
    await service.close();

    expect(told()).toEqual(["STOPPING=1|STATUS=stopping p|"]);
  });

  it("pings at half the watchdog's time, and no more when a supervisor serves without a server", async () => {
    notifyProgram();
    let pid = process.pid;
    const refreshing = {
      get server() {
        return { pid, generation: 1 };
      },
    };
    const env = { NOTIFY_SOCKET: join(folder, "told"), WATCHDOG_USEC: "20000000" };
    const service = notice(env, { refreshing });
    const pings = () => told().filter((line) => line === "WATCHDOG=1|").length;
    /** What is said now is said behind the ping, which by then has been heard. */
    const heard = async (count: number) => {
      await until("the next ping", () => pings() === count);
      const live = pid;
      pid = process.pid;
      service.runs();
      await until("what comes behind it", () => told().at(-1)?.startsWith("STATUS=") === true);
      pid = live;
    };

    service.runs();
    await heard(1);
    for (const count of [2, 3]) {
      await clock.advance(9_999);
      const early = pings();
      await clock.advance(1);
      await heard(count);
      expect(early).toBe(count - 1);
    }
    const before = pings();
    pid = DEAD_PID;
    for (let turn = 0; turn < 10; turn++) {
      await clock.advance(10_000);
      // Within its patience the supervisor is believed.
      if (turn < 3) await heard(before + turn + 1);
    }
    await service.close();

    expect(pings()).toBe(before + 3);
    expect(told().at(-1)).toMatch(/^STOPPING=1/);
  });

  it.each([
    ["is absent", undefined, "it can't be started (ENOENT)"],
    [
      "fails",
      "echo 'Failed to notify: nobody is there' >&2; exit 1",
      "exit code 1: Failed to notify: nobody is there",
    ],
    ["is killed", "kill -9 $$", "killed"],
  ])("says once that systemd-notify %s", async (_how, script, reason) => {
    if (script !== undefined) notifyProgram(script);
    const PATH = script === undefined ? folder : `${folder}${delimiter}/usr/bin${delimiter}/bin`;
    const service = notice({ NOTIFY_SOCKET: join(folder, "told"), PATH, WATCHDOG_USEC: "20000000" });

    service.runs();
    await until("it is said", () => said.length > 0);
    service.runs();
    await service.close();

    expect(said).toEqual([
      expect.objectContaining({
        type: "warning",
        message: `systemd is not told how p does: systemd-notify: ${reason}`,
      }),
    ]);
  });
});

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { livingProcesses } from "../../src/launch/process-table.ts";
import { startWatchdog } from "../../src/launch/watchdog.ts";
import { anyServer, type Launcher, mourn, requestFor, startLauncher } from "../helpers/launcher-process.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { STUBBORN_SERVER } from "../helpers/serving.ts";

/** As npx nests: a shell that waits for node, whose helper is in a session of its own. */
const NESTED = ["/bin/sh", "-c", `'${process.execPath}' '${STUBBORN_SERVER}'; exit $?`] as const;

describe.skipIf(process.platform === "win32")("a launcher that is killed with SIGKILL", () => {
  it.each(["serve", "exec"] as const)("under %s leaves nobody behind", async (mode) => {
    const launcher = startLauncher(requestFor(mode, NESTED));
    const family = await familyOf(launcher);
    expect(family.length).toBeGreaterThanOrEqual(4);

    process.kill(launcher.pid, "SIGKILL");

    await until("everybody is gone", () => !family.some(isAlive));
  });

  it("under exec on a terminal leaves nobody behind, and spares its own group", async () => {
    const launcher = startLauncher(requestFor("exec", NESTED, { onTerminal: true }));
    const family = await familyOf(launcher);

    process.kill(launcher.pid, "SIGKILL");

    await until("everybody is gone", () => !family.some(isAlive));
    expect(isAlive(process.pid)).toBe(true);
  });
});

describe.skipIf(process.platform === "win32")("a launcher that ends as it should", () => {
  it("takes its watchdog with it, which kills nobody", async () => {
    const program = ["/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!; read -r go_on"] as const;
    const launcher = startLauncher(requestFor("exec", program));
    const watchdog = await watchdogOf(launcher);
    launcher.process.stdin?.end("go on\n");

    expect(await launcher.ended).toEqual([0, null]);

    const background = Number(launcher.out());
    mourn(background);
    await until("the watchdog is gone", () => !isAlive(watchdog));
    expect(isAlive(background)).toBe(true);
  });
});

describe.runIf(process.platform === "linux")("the watchdog", () => {
  it("has a session of its own, no environment, and none of the launcher's streams", async () => {
    const launcher = startLauncher(requestFor("serve", anyServer("hello", "stay:forever")));
    const pid = await watchdogOf(launcher);
    await until("it waits", () => commandOf(pid).includes("mcp-run-watchdog"));

    expect(livingProcesses("linux").find((found) => found.pid === pid)).toMatchObject({
      group: pid,
      session: pid,
    });
    expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe("");
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
    const targetsOf = (owner: number, fds: readonly string[]) =>
      Object.fromEntries(fds.map((fd) => [fd, readlinkSync(`/proc/${owner}/fd/${fd}`)]));
    const targets = targetsOf(pid, readdirSync(`/proc/${pid}/fd`));
    expect(targets).toMatchObject({
      0: expect.stringMatching(/^(socket|pipe):/),
      1: "/dev/null",
      2: "/dev/null",
    });
    for (const ours of Object.values(targetsOf(launcher.pid, ["0", "1", "2"]))) {
      expect(Object.values(targets)).not.toContain(ours);
    }
  });

  it("is missed once where there is no shell", async () => {
    let missed = 0;
    const watchdog = startWatchdog({
      platform: "linux",
      shell: ["/nonexistent/sh"],
      onMissing: () => missed++,
    });

    watchdog.watch(process.pid, "tree");
    await until("it is missed", () => missed > 0);
    watchdog.forget(process.pid);
    watchdog.dismiss();

    expect(missed).toBe(1);
  });

  it("is missed if somebody kills it", async () => {
    let missed = 0;
    const watchdog = startWatchdog({ platform: "linux", onMissing: () => missed++ });

    process.kill(watchdog.pid as number, "SIGKILL");

    await until("it is missed", () => missed === 1);
  });
});

/** The watchdog, the program and all that came of it, once the stubborn server says that they are there. */
async function familyOf(launcher: Launcher): Promise<number[]> {
  await until("the server is up", () => launcher.out().includes("\n"));
  const { pids } = (JSON.parse(launcher.out()) as { params: { pids: number[] } }).params;
  const parents = childrenOf(launcher.pid);
  const family = [...new Set([...pids, ...parents])];
  mourn(...family);
  return family;
}

async function watchdogOf(launcher: Launcher): Promise<number> {
  const find = () => childrenOf(launcher.pid).find((pid) => commandOf(pid).includes("mcp-run-watchdog"));
  await until("the watchdog runs", () => find() !== undefined);
  return find() as number;
}

function childrenOf(pid: number): number[] {
  return livingProcesses(process.platform)
    .filter(({ parent }) => parent === pid)
    .map((process) => process.pid);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

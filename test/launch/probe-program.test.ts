/** A probe that is a program: what it gets, what it may say, and that nothing of it is left. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { GenerationOptions } from "../../src/launch/generation.ts";
import { probeByProgram } from "../../src/launch/probe-program.ts";
import { STOP_TIMES } from "../../src/launch/stopping.ts";
import { startWatchdog, type Watchdog } from "../../src/launch/watchdog.ts";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const KEY = "canary-key-value";
let folder: string;
let watchdog: Watchdog;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-probe-"));
  watchdog = startWatchdog({ platform: process.platform });
});
afterEach(() => {
  watchdog.dismiss();
  rmSync(folder, { recursive: true, force: true });
});

/** As a server was started: its `release` is not the probe's business. */
function server(clock: Clock = systemClock): GenerationOptions {
  const plan = {
    command: "/nonexistent/server",
    args: ["--of-the-server"],
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", KEY },
    searchPath: process.env.PATH ?? "",
    secretNames: new Set(["KEY"]),
    release: async () => writeFileSync(join(folder, "released"), ""),
  };
  const { platform } = process;
  const uid = process.getuid?.();
  return { plan, times: STOP_TIMES, platform, uid, clock, watchdog, runFolder: folder };
}

function probed(
  script: string,
  timeoutMs = 20_000,
  signal = new AbortController().signal,
  clock: Clock = systemClock,
) {
  const needles = new NeedleSet();
  needles.add("KEY", new Secret(KEY));
  return probeByProgram({ program: ["sh", "-c", script], timeoutMs }, server(clock), needles, signal);
}

function pidIn(name: string): number {
  const file = join(folder, name);
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
}

describe.skipIf(process.platform === "win32")("a probe that is a program", () => {
  it("gets the server's environment and folder, and works with exit code 0", async () => {
    const wrong = await probed('[ "$KEY" = canary-key-value ] && pwd >where');

    expect(wrong).toBeUndefined();
    expect(readFileSync(join(folder, "where"), "utf8")).toContain("mcp-run-probe-");
    expect(existsSync(join(folder, "released"))).toBe(false);
  });

  it("says by any other code that it does not, with its last words and without a secret", async () => {
    const wrong = await probed('echo "got $KEY"; echo "denied: $KEY" >&2; exit 3');

    expect(wrong).toMatch(/^its probe sh ended with exit code 3 \| /);
    expect(wrong).toContain("got [mcp-run:KEY]");
    expect(wrong).toContain("denied: [mcp-run:KEY]");
    expect(wrong).not.toContain("canary-");
  });

  it("that was killed has not worked", async () => {
    expect(await probed("kill -9 $$")).toBe("its probe sh ended with SIGKILL");
  });

  it("that can't be started has not worked", async () => {
    const probe = { program: ["/nonexistent/probe"], timeoutMs: 1000 } as const;
    const wrong = await probeByProgram(probe, server(), new NeedleSet(), new AbortController().signal);

    expect(wrong).toContain("its probe probe could not be started: ");
  });

  it("is ended after its time with all that came of it, also what does not listen to TERM", async () => {
    const stubborn = "trap '' TERM; (trap '' TERM; sleep 300) & echo $! >child; echo $$ >own; wait; wait";
    const clock = new VirtualClock();
    let isOver = false;
    const wrong = probed(stubborn, 1_000, undefined, clock).finally(() => {
      isOver = true;
    });
    await until("both run", () => pidIn("own") > 0 && pidIn("child") > 0);
    await until("its end", () => {
      void clock.advance(100);
      return isOver;
    });

    expect(await wrong).toBe("its probe sh did not end within 1 s");
    expect([pidIn("own"), pidIn("child")].map(isAlive)).toEqual([false, false]);
  });

  it("leaves nothing behind that it has started", async () => {
    expect(await probed("sleep 300 & echo $! >child")).toBeUndefined();
    expect(isAlive(pidIn("child"))).toBe(false);
  });

  it("may say more than anybody keeps", async () => {
    const wrong = await probed('i=0; while [ $i -lt 20000 ]; do echo "$i $KEY"; i=$((i+1)); done; exit 1');

    expect(wrong?.length).toBeLessThan(1_200);
    expect(wrong).toContain("19999 [mcp-run:KEY]");
    expect(wrong).not.toContain("canary-");
  });

  it("is killed at once when nobody wants to know any more", async () => {
    const stop = new AbortController();
    const wrong = probed("trap '' TERM; echo $$ >own; sleep 300 & wait; wait", 60_000, stop.signal);
    await until("it runs", () => pidIn("own") > 0);

    stop.abort(new Error("enough"));

    await expect(wrong).rejects.toThrow("enough");
    expect(isAlive(pidIn("own"))).toBe(false);
  });
});

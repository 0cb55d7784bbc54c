import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  anyServer,
  type Launcher,
  mourn,
  type Program,
  requestFor,
  startLauncher,
} from "../helpers/launcher-process.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { STUBBORN_SERVER } from "../helpers/serving.ts";

const STUBBORN: Program = ["/bin/sh", "-c", `'${process.execPath}' '${STUBBORN_SERVER}'; exit $?`];

/** Where a server ends at once, so that how long it takes is this machine's; as long as a client waits, we do. */
const LONG = 40;

/** What a client does to end us: the ms are its own, but for a `patience` that is longer than theirs. */
const CLIENTS: Record<string, (launcher: Launcher, patience?: number) => Promise<unknown>> = {
  "Claude Code": async ({ process: child }, patience = 1) => {
    child.kill("SIGINT");
    await sleep(100);
    child.kill("SIGTERM");
    if (await endsWithin(child, 500 * patience)) return;
    child.kill("SIGKILL");
  },
  "the SDK": async ({ process: child }, patience = 1) => {
    child.stdin?.end();
    if (await endsWithin(child, 2000 * patience)) return;
    child.kill("SIGTERM");
    if (await endsWithin(child, 2000 * patience)) return;
    child.kill("SIGKILL");
  },
  "VS Code": async ({ process: child }, patience = 1) => {
    child.stdin?.end();
    if (await endsWithin(child, 10_000 * patience)) return;
    child.kill("SIGTERM");
  },
  "Gemini CLI": async ({ process: child }) => {
    child.kill("SIGTERM");
  },
};

describe.skipIf(process.platform === "win32")("a client that ends us leaves nobody behind:", () => {
  it.concurrent.each(Object.keys(CLIENTS))("%s, a server that ignores everything", async (name) => {
    const launcher = startLauncher(requestFor("serve", STUBBORN));
    const pids = await pidsOf(launcher);

    await CLIENTS[name]?.(launcher);
    await launcher.ended;

    await until("everybody is gone", () => !pids.some(isAlive));
  });

  it.concurrent.each(["the SDK", "VS Code"])(
    "%s, a server that ends with its stdin, at once",
    async (name) => {
      const launcher = startLauncher(requestFor("serve", anyServer("hello", "stay"), { patience: LONG }));
      const pids = await pidsOf(launcher);

      await CLIENTS[name]?.(launcher, LONG);

      expect(await launcher.ended).toEqual([0, null]);
      expect(pids.some(isAlive)).toBe(false);
    },
  );

  it.concurrent.each(["Claude Code", "Gemini CLI"])(
    "%s, a server that ends on TERM, at once",
    async (name) => {
      const launcher = startLauncher(
        requestFor("serve", anyServer("hello", "stay:forever"), { patience: LONG }),
      );
      const pids = await pidsOf(launcher);

      await CLIENTS[name]?.(launcher, LONG);

      expect(await launcher.ended).toEqual([143, null]);
      expect(pids.some(isAlive)).toBe(false);
    },
  );
});

async function endsWithin(child: Launcher["process"], ms: number): Promise<boolean> {
  const stopWaiting = new AbortController();
  const ended = once(child, "exit", { signal: stopWaiting.signal }).then(
    () => true,
    () => false,
  );
  const timer = setTimeout(() => stopWaiting.abort(), ms);
  try {
    return child.exitCode !== null || child.signalCode !== null || (await ended);
  } finally {
    clearTimeout(timer);
  }
}

/** The server's pids, as it names them in its first message. */
async function pidsOf(launcher: Launcher): Promise<number[]> {
  await until("the server is up", () => launcher.out().includes("\n"));
  const { params } = JSON.parse(launcher.out()) as { params: { pids?: number[]; pid?: number } };
  const pids = params.pids ?? [params.pid as number];
  mourn(...pids);
  return pids;
}

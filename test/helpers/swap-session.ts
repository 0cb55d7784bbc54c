/** A serving of a real server in this process, whose server a test replaces under a client of an official SDK. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { ServeOptions, ServerControl } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { isAlive } from "./processes.ts";
import {
  type Connected,
  connectLegacy,
  connectModern,
  type EVERYTHING,
  StreamTransport,
} from "./sdk-clients.ts";
import { type Serving, serving } from "./serving.ts";

/** A file, while which is there a tool `steps` that is given it goes no further than half of its way. */
export function held(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-held-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "hold");
  writeFileSync(file, "");
  return file;
}

const MAX_LINE_BYTES = 64 * 1_048_576;

/** A plan for one of test/helpers/servers that gets these variables. */
export function planOf(server: string, env: Readonly<Record<string, string>> = {}): LaunchPlan {
  const path = process.env.PATH ?? "";
  return {
    command: process.execPath,
    args: [join(import.meta.dirname, "servers", server)],
    cwd: import.meta.dirname,
    env: { PATH: path, ...env },
    searchPath: path,
    secretNames: new Set(),
  };
}

export type SwapSession<Client> = Connected<Client> & {
  readonly served: Serving;
  /** Has another server, with SECRET set to this, take over. */
  swapTo(secret: string, env?: Readonly<Record<string, string>>): Promise<void>;
  /** Ends the session, and waits until nothing of it is left. */
  close(): Promise<void>;
};

export interface SwapOptions {
  readonly era: "legacy" | "modern";
  /** A file of test/helpers/servers. */
  readonly server: string;
  readonly capabilities?: Partial<typeof EVERYTHING>;
  readonly env?: Readonly<Record<string, string>>;
  readonly changes?: Partial<ServeOptions>;
}

type Client<Era> = Era extends "legacy"
  ? Awaited<ReturnType<typeof connectLegacy>>["client"]
  : Awaited<ReturnType<typeof connectModern>>["client"];

/** The first server has the SECRET `s1`; one that is restarted after a crash, `restarted N`. */
export async function swapSession<Given extends SwapOptions>({
  era,
  server,
  capabilities,
  env = {},
  changes = {},
}: Given): Promise<SwapSession<Client<Given["era"]>>> {
  let replace: ServerControl["replace"] = () => Promise.reject(new Error("not started"));
  let starts = 0;
  const pids = new Set<number>();
  const prepare = async () => {
    starts++;
    return planOf(server, { ...env, SECRET: starts === 1 ? "s1" : `restarted ${starts}` });
  };
  const served = serving(planOf(server), {
    prepare,
    onCrash: "restart",
    swap: { mode: "overlap", drainMs: 60_000 },
    maxLineBytes: MAX_LINE_BYTES,
    onReplaced: (pid) => pids.add(pid),
    ...changes,
    onStarted: (pid, control) => {
      pids.add(pid);
      replace = control.replace;
      return undefined;
    },
  });
  const connect = era === "legacy" ? connectLegacy : connectModern;
  const connected = (await connect(new StreamTransport(served), capabilities)) as Connected<
    Client<Given["era"]>
  >;
  return {
    ...connected,
    served,
    swapTo: (secret, more = {}) => replace(planOf(server, { ...env, ...more, SECRET: secret })),
    close: async () => {
      await connected.client.close();
      await served.served;
      const left = [...pids].filter(isAlive);
      if (left.length > 0) throw new Error(`servers were left over: ${left}`);
    },
  };
}

/** A session of the official SDK's client with test/helpers/servers/session.mjs, through a supervisor in this process. */
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import { afterEach } from "vitest";
import type { ServeOptions, ServerControl } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { heard } from "./heard.ts";
import { type Serving, serving } from "./serving.ts";
import { VirtualClock } from "./virtual-clock.ts";

const SERVER = join(import.meta.dirname, "servers/session.mjs");

/** A plan that starts session.mjs with these variables. */
export function planWith(env: Record<string, string>): LaunchPlan {
  const path = process.env.PATH ?? "";
  return {
    command: process.execPath,
    args: [SERVER],
    cwd: import.meta.dirname,
    env: { PATH: path, ...env },
    searchPath: path,
    secretNames: new Set(),
  };
}

/** The SDK's transport over the two streams of a serving. */
class StreamTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  readonly received: JSONRPCMessage[] = [];
  readonly #serving: Serving;
  #rest = "";

  constructor(served: Serving) {
    this.#serving = served;
  }

  async start(): Promise<void> {
    this.#serving.stdout.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = JSON.parse(line) as JSONRPCMessage;
        this.received.push(message);
        this.onmessage?.(message);
      }
    });
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.#serving.stdin.write(`${JSON.stringify(message)}\n`);
  }

  async close(): Promise<void> {
    this.#serving.stdin.end();
    this.onclose?.();
  }
}

/** A supervisor that has started its first server; nobody has said anything yet. */
export interface Started {
  readonly served: Serving;
  readonly control: ServerControl;
  /** What onReplaced was told, as words: `2 restarted`. */
  readonly replaced: string[];
  /** Of every server that was current, in order. */
  readonly pids: number[];
}

export interface McpSession extends Started {
  readonly client: Client;
  readonly transport: { readonly received: readonly JSONRPCMessage[] };
  /** What the tool says, parsed if it is JSON. */
  call(name: string, given?: object): Promise<unknown>;
}

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** Restarts and overlap, and a secret that counts: s1, s2, unless `changes` says otherwise. */
export async function start(changes: Partial<ServeOptions> = {}): Promise<Started> {
  let count = 0;
  const replaced: string[] = [];
  const pids: number[] = [];
  let tellControl: (control: ServerControl) => void = () => undefined;
  const control = new Promise<ServerControl>((resolve) => {
    tellControl = resolve;
  });
  const served = serving(planWith({}), {
    prepare: async () => planWith({ SECRET: `s${++count}` }),
    onCrash: "restart",
    swap: { mode: "overlap", drainMs: 60_000 },
    // In real time no server is killed for being slow to end.
    ...(changes.clock === undefined && { stopGraceMs: 60_000 }),
    ...changes,
    onStarted: (pid, given) => {
      pids.push(pid);
      tellControl(given);
      return undefined;
    },
    onReplaced: (pid, number, reason) => {
      pids.push(pid);
      replaced.push(`${number} ${reason}`);
    },
  });
  open.push(() => closed(served, changes.clock));
  return { served, control: await control, replaced, pids };
}

/** The same, with the SDK's client at it. */
export async function connect(changes: Partial<ServeOptions> = {}): Promise<McpSession> {
  const started = await start(changes);
  const client = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {} } });
  const transport = new StreamTransport(started.served);
  await client.connect(transport);
  open.push(() => client.close());
  const asked = async (name: string, given: object) => {
    const { content } = (await client.callTool({ name, arguments: { ...given } })) as {
      content: { text: string }[];
    };
    const said = content[0]?.text ?? "";
    return /^[{[]/.test(said) ? JSON.parse(said) : said;
  };
  return { ...started, client, transport, call: (name, given = {}) => heard(asked(name, given)) };
}

/** Ends the client's input and waits for the end, in virtual time too. */
async function closed({ stdin, served }: Serving, clock: ServeOptions["clock"] | undefined): Promise<void> {
  let isOver = false;
  const end = served
    .catch(() => undefined)
    .finally(() => {
      isOver = true;
    });
  if (!stdin.writableEnded) stdin.end();
  while (clock instanceof VirtualClock && !isOver) {
    await clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await end;
}

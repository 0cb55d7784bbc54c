/** Servers that take each other's place under the client of the official SDK. */
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { CreateMessageRequestSchema, type JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import { afterEach, describe, expect, it } from "vitest";
import type { ServeOptions, ServerControl } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { until } from "../helpers/processes.ts";
import { type Serving, serving } from "../helpers/serving.ts";

const SERVER = join(import.meta.dirname, "../helpers/servers/session.mjs");

function planWith(env: Record<string, string>): LaunchPlan {
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

interface Session {
  readonly client: Client;
  readonly served: Serving;
  readonly transport: StreamTransport;
  readonly replace: ServerControl["replace"];
  /** What the tool says, parsed if it is JSON. */
  call(name: string, given?: object): Promise<unknown>;
}

const open: Session[] = [];
afterEach(async () => {
  for (const { client, served } of open.splice(0)) {
    await client.close();
    await served.served;
  }
});

async function connect(changes: Partial<ServeOptions> = {}): Promise<Session> {
  let replace: ServerControl["replace"] = () => Promise.reject(new Error("not started"));
  let count = 0;
  const served = serving(planWith({}), {
    prepare: async () => planWith({ SECRET: `s${++count}` }),
    onCrash: "restart",
    swap: { mode: "overlap", drainMs: 5_000 },
    ...changes,
    onStarted: (_pid, control) => {
      replace = control.replace;
      return undefined;
    },
  });
  const client = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {} } });
  const transport = new StreamTransport(served);
  await client.connect(transport);
  const call = async (name: string, given: object = {}) => {
    const { content } = (await client.callTool({ name, arguments: { ...given } })) as {
      content: { text: string }[];
    };
    const said = content[0]?.text ?? "";
    return /^[{[]/.test(said) ? JSON.parse(said) : said;
  };
  const session = { client, served, transport, replace: (plan: LaunchPlan) => replace(plan), call };
  open.push(session);
  return session;
}

/** Requests at a steady pace until `done`; resolves with how many there were and what went wrong. */
async function load({ call }: Session, done: Promise<unknown>, perSecond = 250) {
  let isOver = false;
  void done.finally(() => {
    isOver = true;
  });
  const wrong: string[] = [];
  const under: Promise<void>[] = [];
  for (let number = 0; !isOver; number++) {
    const expected = `answer ${number}`;
    under.push(
      call("wait", { ms: number % 20, value: expected }).then(
        (value) => {
          if (value !== expected) wrong.push(`${expected}: ${JSON.stringify(value)}`);
        },
        (error: Error) => void wrong.push(`${expected}: ${error.message}`),
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, 1000 / perSecond));
  }
  await Promise.all(under);
  return { count: under.length, wrong };
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe("a server that takes another's place", () => {
  it("has the new secret, and what the client had set in the old one", async () => {
    const session = await connect();
    await session.client.setLoggingLevel("debug");
    await session.client.subscribeResource({ uri: "file:///a" });
    const before = (await session.call("who")) as { pid: number };

    await session.replace(planWith({ SECRET: "new" }));

    const after = (await session.call("who")) as { pid: number };
    expect(after).toMatchObject({ secret: "new", level: "debug", subscriptions: ["file:///a"] });
    expect(after.pid).not.toBe(before.pid);
    await until("the old server is gone", () => !isAlive(before.pid));
    expect(session.transport.received.filter((message) => "id" in message && message.id === 0)).toHaveLength(
      1,
    );
  });

  it("lets the old one finish what it was asked", async () => {
    const session = await connect();
    const slow = session.call("wait", { ms: 400, value: "from the old one" });

    await session.replace(planWith({ SECRET: "new" }));

    expect(await session.call("who")).toMatchObject({ secret: "new" });
    expect(await slow).toBe("from the old one");
  });

  it("answers what the old one does not finish in time", async () => {
    const session = await connect({ swap: { mode: "overlap", drainMs: 50 } });
    const slow = session.call("wait", { ms: 60_000, value: "never" });

    await session.replace(planWith({ SECRET: "new" }));

    await expect(slow).rejects.toThrow("server restarted");
    expect(await session.call("who")).toMatchObject({ secret: "new" });
  });

  it("does not get the place if it does not come up, and the old one goes on", async () => {
    const session = await connect();

    await expect(session.replace(planWith({ FAILS_TO_START: "yes" }))).rejects.toThrow();

    expect(await session.call("who")).toMatchObject({ secret: "s1" });
  });

  it("does not get the place if its probe fails", async () => {
    const session = await connect({ probe: { tool: "die", arguments: {} } });

    await expect(session.replace(planWith({ SECRET: "new" }))).rejects.toThrow();

    expect(await session.call("who")).toMatchObject({ secret: "s1" });
  });

  it("asks the client by another name than the old one, whose question is still open", async () => {
    const session = await connect();
    const answers: ((text: string) => void)[] = [];
    session.client.setRequestHandler(CreateMessageRequestSchema, () =>
      new Promise<{ text: string }>((resolve) => answers.push((text) => resolve({ text }))).then(
        ({ text }) => ({
          model: "test",
          role: "assistant" as const,
          content: { type: "text" as const, text },
        }),
      ),
    );
    const first = session.call("ask");
    await until("the first question is there", () => answers.length === 1);
    await session.replace(planWith({ SECRET: "new" }));
    const second = session.call("ask");
    await until("the second question is there", () => answers.length === 2);

    answers[1]?.("to the new one");
    answers[0]?.("to the old one");

    expect(await second).toMatchObject({ content: { text: "to the new one" } });
    expect(await first).toMatchObject({ content: { text: "to the old one" } });
  });

  it.each(["overlap", "sequential"] as const)("is not noticed by a client under load: %s", async (mode) => {
    const session = await connect({ swap: { mode, drainMs: 5_000 } });
    const pids: number[] = [];
    const rotate = async () => {
      for (let round = 0; round < 8; round++) {
        await session.replace(planWith({ SECRET: `round ${round}` }));
        const { pid, secret } = (await session.call("who")) as { pid: number; secret: string };
        expect(secret).toBe(`round ${round}`);
        pids.push(pid);
      }
    };

    const { count, wrong } = await load(session, rotate());

    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(50);
    expect(new Set(pids).size).toBe(8);
    const ids = session.transport.received.flatMap((message) =>
      "result" in message || "error" in message ? [message.id] : [],
    );
    expect(new Set(ids).size).toBe(ids.length);
    await until("the old servers are gone", () => pids.slice(0, -1).every((pid) => !isAlive(pid)));
  });
});

describe("a server that dies", () => {
  it("is started again, and the client is told once of each request that it had", async () => {
    const session = await connect();
    const waiting = [1, 2, 3].map((value) => session.call("wait", { ms: 60_000, value: `${value}` }));
    const { pid } = (await session.call("who")) as { pid: number };

    process.kill(pid, "SIGKILL");

    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(String((outcomes[0] as PromiseRejectedResult).reason)).toContain("server restarted, generation 2");
    expect(await session.call("who")).toMatchObject({ secret: "s2" });
  });

  it("is started again when it ends by itself, unless the profile says otherwise", async () => {
    const session = await connect();
    await session.call("die", { code: 0 }).catch(() => undefined);
    expect(await session.call("who")).toMatchObject({ secret: "s2" });

    const strict = await connect({ onCrash: "exit" });
    await strict.call("die", { code: 3 }).catch(() => undefined);
    expect(await strict.served.served).toMatchObject({ exitCode: 3, endedByItself: true });
  });

  it("is given up after five starts in a row that failed", async () => {
    let starts = 0;
    const session = await connect({
      prepare: async () => planWith(++starts === 1 ? {} : { FAILS_TO_START: "yes" }),
    });
    await session.call("die", { code: 4 }).catch(() => undefined);

    expect(await session.served.served).toMatchObject({ exitCode: 9, endedByItself: true });
    expect(starts).toBe(6);
  });

  it("is not started again once the client has gone", async () => {
    const session = await connect();
    const { pid } = (await session.call("who")) as { pid: number };
    session.served.stdin.end();

    process.kill(pid, "SIGKILL");

    expect(await session.served.served).toMatchObject({ exitCode: 137, endedByItself: false });
  });
});

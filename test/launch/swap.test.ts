/** Servers that take each other's place under the client of the official SDK. */
import { CreateMessageRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, it } from "vitest";
import { ReplaceError, type StartReason } from "../../src/launch/serving.ts";
import { connect, type McpSession, planWith } from "../helpers/mcp-session.ts";
import { isAlive, until } from "../helpers/processes.ts";

const MOST_OPEN = 250;

/** Requests at a steady pace until `done`; resolves with how many there were and what went wrong. */
async function load({ call }: McpSession, done: Promise<unknown>, perSecond = 250) {
  let isOver = false;
  void done.finally(() => {
    isOver = true;
  });
  const wrong: string[] = [];
  const under: Promise<void>[] = [];
  let open = 0;
  for (let number = 0; !isOver; number++) {
    const expected = `answer ${number}`;
    open++;
    under.push(
      call("wait", { ms: number % 20, value: expected })
        .then(
          (value) => {
            if (value !== expected) wrong.push(`${expected}: ${JSON.stringify(value)}`);
          },
          (error: Error) => void wrong.push(`${expected}: ${error.message}`),
        )
        .finally(() => {
          open--;
        }),
    );
    // On a machine that is too slow for the pace they would get more and more, and time out.
    while (open >= MOST_OPEN && !isOver) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 1000 / perSecond));
  }
  await Promise.all(under);
  return { count: under.length, wrong };
}

describe("a server that takes another's place", () => {
  it("has the new secret, and what the client had set in the old one", async () => {
    const session = await connect();
    await session.client.setLoggingLevel("debug");
    await session.client.subscribeResource({ uri: "file:///a" });
    const before = (await session.call("who")) as { pid: number };

    await session.control.replace(planWith({ SECRET: "new" }));

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

    await session.control.replace(planWith({ SECRET: "new" }));

    expect(await session.call("who")).toMatchObject({ secret: "new" });
    expect(await slow).toBe("from the old one");
  });

  it("answers what the old one does not finish in time", async () => {
    const session = await connect({ swap: { mode: "overlap", drainMs: 50 } });
    const slow = session.call("wait", { ms: 60_000, value: "never" });
    const refused = expect(slow).rejects.toThrow("server restarted");

    await session.control.replace(planWith({ SECRET: "new" }));

    await refused;
    expect(await session.call("who")).toMatchObject({ secret: "new" });
  });

  it("does not get the place if it does not come up, and the old one goes on", async () => {
    const session = await connect();

    await expect(session.control.replace(planWith({ FAILS_TO_START: "yes" }))).rejects.toThrow();

    expect(await session.call("who")).toMatchObject({ secret: "s1" });
  });

  it("does not get the place if its probe fails", async () => {
    const session = await connect({ probe: { tool: "die", arguments: {} } });

    await expect(session.control.replace(planWith({ SECRET: "new" }))).rejects.toThrow();

    expect(await session.call("who")).toMatchObject({ secret: "s1" });
  });

  it("does not get the place if the program that is its probe does not like what it has", async () => {
    const probe = { program: ["sh", "-c", '[ "$SECRET" = good ]'], timeoutMs: 10_000 } as const;
    const session = await connect({ probe });

    const refused = session.control.replace(planWith({ SECRET: "bad" }));
    await expect(refused).rejects.toThrow(new ReplaceError("its probe sh ended with exit code 1"));
    expect(await session.call("who")).toMatchObject({ secret: "s1" });

    await session.control.replace(planWith({ SECRET: "good" }));
    expect(await session.call("who")).toMatchObject({ secret: "good" });
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
    await session.control.replace(planWith({ SECRET: "new" }));
    const second = session.call("ask");
    await until("the second question is there", () => answers.length === 2);

    answers[1]?.("to the new one");
    answers[0]?.("to the old one");

    expect(await second).toMatchObject({ content: { text: "to the new one" } });
    expect(await first).toMatchObject({ content: { text: "to the old one" } });
  });

  it.each(["overlap", "sequential"] as const)(
    "is not noticed by a client under load: %s",
    { timeout: 240_000 },
    async (mode) => {
      const session = await connect({ swap: { mode, drainMs: 60_000 } });
      const pids: number[] = [];
      const rotate = async () => {
        for (let round = 0; round < 8; round++) {
          await session.control.replace(planWith({ SECRET: `round ${round}` }));
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
    },
  );
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
    const reasons: StartReason[] = [];
    const session = await connect({
      prepare: async (_signal, reason) =>
        planWith(reasons.push(reason) === 1 ? {} : { FAILS_TO_START: "yes" }),
    });
    await session.call("die", { code: 4 }).catch(() => undefined);

    expect(await session.served.served).toMatchObject({ exitCode: 9, endedByItself: true });
    expect(reasons).toEqual(["first", "restart", "restart", "retry", "retry", "retry"]);
  });

  it("is not started again once the client has gone", async () => {
    const session = await connect();
    const { pid } = (await session.call("who")) as { pid: number };
    session.served.stdin.end();

    process.kill(pid, "SIGKILL");

    expect(await session.served.served).toMatchObject({ exitCode: 137, endedByItself: false });
  });
});

/** One server takes the other's place under the client of the SDK 2.x, protocol revision 2026-07-28. */
import { rmSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { isAlive, until } from "../helpers/processes.ts";
import { askForEcho, load, MODERN_VERSION } from "../helpers/sdk-clients.ts";
import { held, type SwapOptions, swapSession } from "../helpers/swap-session.ts";

const UPDATED = "notifications/resources/updated";
const ACKNOWLEDGED = "notifications/subscriptions/acknowledged";
const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of close.splice(0)) await end();
});

async function start(options: Partial<Pick<SwapOptions, "changes" | "env" | "server">> = {}) {
  const session = await swapSession({ era: "modern", server: "sdk-modern.mjs", ...options });
  close.push(session.close);
  const { traffic } = session;
  /** The secrets of the servers that spoke of the resource, in order. */
  const updates = () =>
    traffic
      .notifications(UPDATED)
      .map(({ params }) => String((params?._meta as { secret?: string } | undefined)?.secret));
  const told = (secret: string) =>
    until(`${secret} tells`, () => updates().filter((one) => one === secret).length > 2);
  const listens = () =>
    new Set(traffic.sent.filter(({ method }) => method === "subscriptions/listen").map(({ id }) => id));
  return { ...session, updates, told, listens };
}

describe("a client of the newer protocol", () => {
  it.each(["overlap", "sequential"] as const)(
    "does not notice eight changes under load: %s",
    { timeout: 240_000 },
    async (mode) => {
      const session = await start({ changes: { swap: { mode, drainMs: 60_000 } } });
      const pids: number[] = [];
      const rotate = async () => {
        for (let round = 1; round <= 8; round++) {
          await session.swapTo(`round ${round}`);
          const { pid, secret } = (await session.call("who")) as { pid: number; secret: string };
          expect(secret).toBe(`round ${round}`);
          pids.push(pid);
        }
      };

      const { wrong, count } = await load(askForEcho(session), rotate());

      expect(wrong).toEqual([]);
      expect(count).toBeGreaterThan(50);
      expect(new Set(pids).size).toBe(8);
      expect(session.traffic.faults()).toEqual([]);
      expect(JSON.stringify(session.traffic.received)).not.toContain("mcp-run-own");
      await until("the old servers are gone", () => !pids.slice(0, -1).some(isAlive));
    },
  );

  it("reaches each server with its own _meta, and nothing added", async () => {
    const { call, swapTo } = await start();
    const before = await call("envelope");

    await swapTo("s2");

    expect(await call("envelope")).toEqual(before);
    expect(before).toMatchObject({
      envelope: {
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": { name: "modern-test" },
        "io.modelcontextprotocol/clientCapabilities": { sampling: {} },
      },
    });
  });

  it.each(["overlap", "sequential"] as const)(
    "keeps its listen: acknowledged once, never closed, one server at a time speaks: %s",
    async (mode) => {
      const { client, call, swapTo, traffic, updates, told, listens } = await start({
        changes: { swap: { mode, drainMs: 60_000 } },
      });
      const subscription = await client.listen({
        resourceSubscriptions: ["file:///a"],
        toolsListChanged: true,
      });
      let end: string | undefined;
      void subscription.closed.then((how) => {
        end = how;
      });
      await told("s1");
      const slow = call("wait", { ms: 500, value: "slow" });

      await swapTo("s2");
      await told("s2");
      await slow;
      await swapTo("s3");
      await told("s3");

      expect(updates()).toEqual([...updates()].sort());
      expect(traffic.notifications(ACKNOWLEDGED)).toHaveLength(1);
      const ids = traffic
        .notifications(UPDATED)
        .map(({ params }) => (params as { _meta: Record<string, unknown> })._meta[SUBSCRIPTION]);
      expect([...new Set(ids)]).toEqual([...listens()]);
      expect(traffic.notifications("notifications/cancelled")).toEqual([]);
      expect(traffic.notifications("notifications/tools/list_changed")).toEqual([]);
      expect(traffic.faults(listens())).toEqual([]);
      expect(end).toBeUndefined();
      await subscription.close();
    },
  );

  it("keeps its listen when the server is killed", async () => {
    const { client, call, traffic, told, listens } = await start();
    await client.listen({ resourceSubscriptions: ["file:///a"] });
    const { pid } = (await call("who")) as { pid: number };

    process.kill(pid, "SIGKILL");
    await told("restarted 2");

    expect(traffic.notifications(ACKNOWLEDGED)).toHaveLength(1);
    expect(traffic.faults(listens())).toEqual([]);
  });

  it("can end its listen after a change, and hears no more of it", async () => {
    const { client, call, swapTo, traffic, told, listens } = await start();
    const subscription = await client.listen({ resourceSubscriptions: ["file:///a"] });
    await swapTo("s2");
    await told("s2");

    await subscription.close();
    await call("who");
    const count = traffic.notifications(UPDATED).length;
    await swapTo("s3");
    await call("wait", { ms: 100, value: "time for five updates" });

    expect(traffic.notifications(UPDATED)).toHaveLength(count);
    expect(traffic.faults(listens())).toEqual([]);
  });

  it("is told by its listen that the tools differ, once", async () => {
    const { client, call, swapTo, traffic } = await start();
    await client.listen({ toolsListChanged: true });
    await swapTo("s2", { MORE_TOOLS: "yes" });
    await swapTo("s3", { MORE_TOOLS: "yes" });
    await call("who");

    const told = traffic.notifications("notifications/tools/list_changed");

    expect(told).toHaveLength(1);
    expect((await client.listTools({}, { cacheMode: "bypass" })).tools.map(({ name }) => name)).toContain(
      "more",
    );
  });

  it("gives its further input to the server that asked for it", async () => {
    const { client, call, swapTo, traffic } = await start();
    let answer: (text: string) => void = () => undefined;
    let isAsked = false;
    client.setRequestHandler("elicitation/create", async () => {
      isAsked = true;
      const given = await new Promise<string>((resolve) => {
        answer = resolve;
      });
      return { action: "accept" as const, content: { answer: given } };
    });
    const confirmed = call("confirm", { prompt: "sure?" });
    await until("the client is asked", () => isAsked);

    await swapTo("s2");
    expect(await call("who")).toMatchObject({ secret: "s2" });
    answer("yes");

    expect(await confirmed).toMatchObject({ said: "yes", isOwnState: true, secret: "s1" });
    expect(traffic.faults()).toEqual([]);
  });

  it("hears the progress of a long tool over a change, every step once and in order", async () => {
    const { client, swapTo, traffic } = await start();
    const steps = () => traffic.stepsOf(40);
    const hold = held();
    const onprogress = () => undefined;
    const long = client.callTool({ name: "steps", arguments: { count: 40, ms: 20, hold } }, { onprogress });
    await until("it has begun", () => steps().length > 0);

    await swapTo("s2");

    expect(steps().length).toBeLessThan(40);
    rmSync(hold);
    expect(JSON.stringify(await long)).toContain('\\"s1\\"');
    expect(steps()).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
  });

  it("cancels a request in the old server that has it", async () => {
    const { client, call, swapTo, served } = await start();
    await call("who"); // The SDK's server does not hear that its request 0 is cancelled.
    const stop = new AbortController();
    const given = { name: "wait", arguments: { ms: 60_000, value: "unwanted" } };
    const unwanted = client.callTool(given, { signal: stop.signal });
    await swapTo("s2");
    expect(await call("who")).toMatchObject({ secret: "s2" });

    stop.abort();

    await expect(unwanted).rejects.toThrow();
    await until("the old server has heard it", () => served.err().includes("cancelled unwanted"));
    await swapTo("s3");
  });
});

describe("a listen whose acknowledgement takes long", () => {
  const FILTER = { resourceSubscriptions: ["file:///a"] };

  it("is acknowledged once if another server takes over meanwhile", async () => {
    const { client, swapTo, traffic, told } = await start({ server: "load.mjs", env: { LISTEN_MS: "400" } });
    const listening = client.listen(FILTER);

    await swapTo("s2");

    expect(await listening).toMatchObject({ honoredFilter: FILTER });
    await told("s2");
    expect(traffic.notifications(ACKNOWLEDGED)).toHaveLength(1);
  });

  it("is acknowledged once if its server is killed meanwhile", async () => {
    const { client, call, traffic, told } = await start({ server: "load.mjs", env: { LISTEN_MS: "400" } });
    const { pid } = (await call("who")) as { pid: number };
    const listening = client.listen(FILTER);
    await call("who");

    process.kill(pid, "SIGKILL");

    expect(await listening).toMatchObject({ honoredFilter: FILTER });
    await told("restarted 2");
    expect(traffic.notifications(ACKNOWLEDGED)).toHaveLength(1);
  });
});

describe("a listen that the client ends while the next server is being proven", () => {
  it("does not come back with that server", async () => {
    const probe = { tool: "wait", arguments: { ms: 400, value: "proven" } };
    const { client, call, swapTo, traffic, told } = await start({ server: "load.mjs", changes: { probe } });
    const subscription = await client.listen({ resourceSubscriptions: ["file:///a"] });
    await told("s1");
    const swapped = swapTo("s2");
    await call("wait", { ms: 250, value: "the next one has heard it by now" });

    await subscription.close();
    await swapped;
    const count = traffic.notifications(UPDATED).length;
    await call("wait", { ms: 100, value: "time for five updates" });

    expect(await call("who")).toMatchObject({ secret: "s2" });
    expect(traffic.notifications(UPDATED)).toHaveLength(count);
  });
});

/** What takes long, or is large, while one server takes the other's place: with the client of the SDK 1.x. */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterEach, describe, expect, it } from "vitest";
import { isAlive, until } from "../helpers/processes.ts";
import { held, type SwapOptions, swapSession } from "../helpers/swap-session.ts";

const MIB = 1_048_576;
const PATTERN = 'é\\"x';

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of close.splice(0)) await end();
});

async function start(changes: SwapOptions["changes"] = {}, server = "sdk-legacy.mjs") {
  const session = await swapSession({ era: "legacy", server, changes });
  close.push(session.close);
  return session;
}

describe("a subscription", () => {
  it("goes on with the new server, and only one server speaks of it at a time", async () => {
    const { client, call, swapTo, traffic } = await start();
    const updates: string[] = [];
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
      updates.push(String(params._meta?.secret));
    });
    await client.subscribeResource({ uri: "file:///a" });
    await until("the first server tells", () => updates.length > 2);
    // So that the old server lives on, and goes on telling.
    const slow = call("wait", { ms: 500, value: "slow" });

    await swapTo("s2");
    await until("the second server tells", () => updates.filter((secret) => secret === "s2").length > 2);
    await slow;
    await swapTo("s3");
    await until("the third server tells", () => updates.filter((secret) => secret === "s3").length > 2);

    expect(updates).toEqual([...updates].sort());
    expect(traffic.faults()).toEqual([]);
  });

  it("that was ended while two servers live does not come back", async () => {
    const { client, call, swapTo, traffic } = await start();
    await client.subscribeResource({ uri: "file:///a" });
    const slow = call("wait", { ms: 400, value: "slow" });
    await swapTo("s2");

    await client.unsubscribeResource({ uri: "file:///a" });
    const before = traffic.notifications("notifications/resources/updated").length;
    await slow;
    await swapTo("s3");
    await client.subscribeResource({ uri: "file:///b" });
    await until("the other one tells", () =>
      traffic
        .notifications("notifications/resources/updated")
        .some(({ params }) => params?.uri === "file:///b"),
    );

    const later = traffic.notifications("notifications/resources/updated").slice(before);
    expect(later.filter(({ params }) => params?.uri === "file:///a")).toEqual([]);
  });

  it("that was made while a server is being started reaches that server", async () => {
    const { client, swapTo, traffic } = await start();
    const swapped = swapTo("s2");
    await client.subscribeResource({ uri: "file:///a" });
    await swapped;

    await until("the second server tells", () =>
      traffic
        .notifications("notifications/resources/updated")
        .some(({ params }) => (params?._meta as { secret?: string } | undefined)?.secret === "s2"),
    );

    expect(traffic.faults()).toEqual([]);
  });
});

describe("a message of 20 MiB", () => {
  it("comes from the old server, whole and unchanged, after another has its place", async () => {
    const { call, swapTo, traffic } = await start();
    const answer = call("big", { bytes: 20 * MIB, ms: 500 });

    await swapTo("s2");
    const meanwhile = (await call("who")) as { secret: string };

    expect(meanwhile.secret).toBe("s2");
    const text = (await answer) as string;
    expect(text === PATTERN.repeat((20 * MIB) / 5)).toBe(true);
    expect(traffic.faults()).toEqual([]);
  });

  it.each(["overlap", "sequential"] as const)(
    "goes to one server, whole and unchanged, when it is sent in the midst of a change: %s",
    async (mode) => {
      // The SDK's server takes seconds to read so much.
      const { call, swapTo, traffic } = await start({ swap: { mode, drainMs: 60_000 } }, "load.mjs");
      const value = PATTERN.repeat((20 * MIB) / 5);
      const before = call("measure", { value });
      const swapped = swapTo("s2");

      const during = call("measure", { value });
      await swapped;

      const sha256 = createHash("sha256").update(value).digest("hex");
      const whole = { bytes: 20 * MIB, sha256 };
      expect(await before).toEqual({ ...whole, secret: "s1" });
      expect(await during).toMatchObject(whole);
      expect(traffic.faults()).toEqual([]);
    },
  );
});

describe("a tool that takes long", () => {
  it("tells its progress over two changes of servers, every step once and in order", async () => {
    const { client, call, swapTo, traffic } = await start();
    const steps = () => traffic.stepsOf(60);
    const hold = held();
    const onprogress = () => undefined;
    const given = { name: "steps", arguments: { count: 60, ms: 20, hold } };
    const long = client.callTool(given, undefined, { onprogress });
    await until("it has begun", () => steps().length > 0);
    await swapTo("s2");
    const other = client.callTool({ name: "steps", arguments: { count: 10, ms: 10 } }, undefined, {
      onprogress,
    });
    const stepsAtSwap = steps().length;
    rmSync(hold);
    await other;

    expect(JSON.stringify(await long)).toContain('\\"s1\\"');
    await swapTo("s3");

    expect(stepsAtSwap).toBeLessThan(60);
    expect(steps()).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    expect(traffic.stepsOf(10)).toEqual(Array.from({ length: 10 }, (_, index) => index + 1));
    expect(await call("who")).toMatchObject({ secret: "s3" });
  });

  it("is cancelled in the old server that has it, and no answer comes", async () => {
    const { client, call, swapTo, served, traffic } = await start();
    const wanted = call("wait", { ms: 1000, value: "wanted" });
    const stop = new AbortController();
    const given = { name: "wait", arguments: { ms: 60_000, value: "unwanted" } };
    const unwanted = client.callTool(given, undefined, { signal: stop.signal });
    await swapTo("s2");
    const inNew = call("wait", { ms: 300, value: "in the new one" });
    const { id } = traffic.sent.find(
      ({ params }) => (params?.arguments as { value?: string } | undefined)?.value === "unwanted",
    ) as { id: number };

    stop.abort();

    await expect(unwanted).rejects.toThrow();
    await until("the old server has heard it", () => served.err().includes("cancelled unwanted"));
    expect(await inNew).toBe("in the new one");
    expect(await wanted).toBe("wanted");
    expect(served.err()).not.toContain("cancelled wanted");
    // It was the last thing that kept the old server.
    await swapTo("s3");
    expect(traffic.faults(new Set([id]))).toEqual([]);
  });
});

describe("a server that hangs with its pipe full", () => {
  it("loses its place all the same, and what it had is answered with an error once its time is over", async () => {
    const { call, swapTo, traffic } = await start({ swap: { mode: "overlap", drainMs: 300 } }, "load.mjs");
    const { pid } = (await call("who")) as { pid: number };
    process.kill(pid, "SIGSTOP");
    const value = "x".repeat(10_000);
    const stuck = Array.from({ length: 100 }, () => call("wait", { ms: 0, value }));

    await swapTo("s2");
    const outcomes = await Promise.allSettled(stuck);

    expect(await call("who")).toMatchObject({ secret: "s2" });
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(answered).toBeLessThan(100);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(String(outcome.reason)).toContain("server restarted");
    expect(traffic.faults()).toEqual([]);
    await until("the hung server is gone", () => !isAlive(pid));
  });
});

/** Requests that wait while a rotation ends the key of the server that is there: real servers, an official SDK's client. */
import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Withheld } from "../../src/launch/serving.ts";
import { connect, type McpSession, planWith, start } from "../helpers/mcp-session.ts";
import { until } from "../helpers/processes.ts";
import { held } from "../helpers/swap-session.ts";

function withheld({ control }: Pick<McpSession, "control">): Withheld {
  const held = control.withhold();
  if (typeof held === "string") throw new Error(held);
  return held;
}

describe("requests that are to wait", () => {
  it("go to the next server, while what is under way goes on and a ping is answered", async () => {
    const session = await connect();
    const { call, client, control, pids } = session;
    const hold = held();
    const slow = call("wait", { hold, value: "done" });
    await call("who");
    const withholding = withheld(session);
    expect(withholding.isBusy()).toBe(true);
    const order: string[] = [];
    const first = call("who").finally(() => order.push("first"));
    const second = call("who").finally(() => order.push("second"));

    await client.ping();
    rmSync(hold);
    expect(await slow).toBe("done");
    expect(withholding.isBusy()).toBe(false);
    await control.replace(planWith({ SECRET: "new" }));
    await client.ping();
    expect(order).toEqual([]);
    withholding.letGo();

    expect(await first).toMatchObject({ secret: "new" });
    expect(await second).toMatchObject({ secret: "new" });
    expect(order).toEqual(["first", "second"]);
    expect(await call("who")).toMatchObject({ pid: pids[1] });
  });

  it("wait on while one that can't run twice is replaced", async () => {
    const session = await connect({ swap: { mode: "sequential", drainMs: 60_000 } });
    const held = withheld(session);
    let isAnswered = false;
    const asked = session.call("who").finally(() => {
      isAnswered = true;
    });

    await session.control.replace(planWith({ SECRET: "new" }));
    await session.client.ping();
    expect(isAnswered).toBe(false);
    held.letGo();

    expect(await asked).toMatchObject({ secret: "new" });
  });

  it("wait on when the server dies meanwhile and another comes with what it had", async () => {
    const session = await connect();
    const held = withheld(session);
    let isAnswered = false;
    const asked = session.call("who").finally(() => {
      isAnswered = true;
    });

    process.kill(session.pids[0] ?? 0, "SIGKILL");
    await until("another is there", () => session.replaced.length === 1);
    await session.client.ping();
    expect(isAnswered).toBe(false);
    await session.control.replace(planWith({ SECRET: "new" }));
    held.letGo();

    expect(await asked).toMatchObject({ secret: "new" });
  });

  it("go to the server that is there when nothing else comes", async () => {
    const session = await connect();
    const held = withheld(session);
    const asked = session.call("who");

    held.letGo();

    expect(await asked).toMatchObject({ pid: session.pids[0] });
  });

  it("are answered when the client's input ends", async () => {
    const session = await connect();
    withheld(session);
    const asked = session.call("who");

    session.served.stdin.end();

    expect(await asked).toMatchObject({ pid: session.pids[0] });
    await session.served.served;
  });

  it("are cancelled by a client that no longer wants them, and reach no server", async () => {
    const session = await connect();
    const held = withheld(session);
    const giveUp = new AbortController();
    const asked = session.client.callTool({ name: "who" }, undefined, { signal: giveUp.signal });
    giveUp.abort();
    await expect(asked).rejects.toThrow();

    held.letGo();

    const before = session.transport.received.length;
    await session.call("who");
    expect(session.transport.received.length).toBe(before + 1);
  });

  it("don't where a client has not introduced itself, or no server is to be replaced", async () => {
    const { control } = await start();
    expect(control.withhold()).toBe("the client has not introduced itself yet");

    const session = await connect({ swap: undefined as never });
    expect(session.control.withhold()).toBe("this server is not to be replaced");
  });
});

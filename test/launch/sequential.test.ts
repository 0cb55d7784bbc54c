/** A server that can't run twice is replaced under a client that goes on asking. */
import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ServeOptions } from "../../src/launch/serving.ts";
import { connect, type McpSession, planWith } from "../helpers/mcp-session.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const DRAIN_MS = 20_000;
const swap: ServeOptions["swap"] = { mode: "sequential", drainMs: DRAIN_MS };

let folder: string;
let clock: VirtualClock;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-run-sequential-"));
  clock = new VirtualClock();
});
afterEach(() => rm(folder, { recursive: true }));

/** What has become of it by now. */
function outcome(promise: Promise<unknown>): () => unknown {
  let state: unknown = "pending";
  promise.then(
    (value) => {
      state = value ?? "resolved";
    },
    (error: Error) => {
      state = error.message;
    },
  );
  return () => state;
}

/** Resolves once everything that was said before has gone to the server and its answer has come back. */
async function roundTrip({ call }: McpSession): Promise<void> {
  await call("who");
}

/** Real time and virtual time go on until it holds. */
async function untilLater(what: string, condition: () => boolean, stepMs = 20): Promise<void> {
  await until(what, () => {
    void clock.advance(stepMs);
    return condition();
  });
}

describe("a server that can't run twice", () => {
  it("answers everything else in between, while a long piece of work keeps it from being replaced", async () => {
    const session = await connect({ clock, swap });
    const { control, call, pids } = session;
    const slow = outcome(call("wait", { ms: 60_000, value: "never" }));
    await roundTrip(session);
    const replaced = outcome(control.replace(planWith({ SECRET: "new" })));
    await clock.advance(0);

    const held = call("who");
    const heldState = outcome(held);
    await clock.advance(4_999);
    expect(heldState()).toBe("pending");
    await clock.advance(1);
    expect(await held).toMatchObject({ pid: pids[0] });
    expect(await call("who")).toMatchObject({ pid: pids[0] });

    await clock.advance(5_000);
    const heldAgain = call("who");
    await clock.advance(5_000);
    expect(await heldAgain).toMatchObject({ pid: pids[0] });
    await clock.advance(5_000);
    await untilLater("it is replaced", () => replaced() === "resolved");

    expect(slow()).toContain("server restarted");
    expect(await call("who")).toMatchObject({ secret: "new" });
    expect(isAlive(pids[0] as number)).toBe(false);
  });

  it("is replaced at the first moment at which it owes nobody anything", async () => {
    const session = await connect({ clock, swap });
    const { control, call } = session;
    const slow = call("wait", { ms: 400, value: "in time" });
    await roundTrip(session);
    const replaced = control.replace(planWith({ SECRET: "new" }));
    await clock.advance(5_000);
    // From here on nothing is held, and no more virtual time passes.

    expect(await slow).toBe("in time");
    await replaced;

    expect(await call("who")).toMatchObject({ secret: "new" });
  });

  it("is followed by one with the secrets of then if the next does not come up; the failure is told once", async () => {
    const { control, call, served, transport, replaced } = await connect({ swap });

    const failed = expect(control.replace(planWith({ FAILS_TO_START: "yes" }))).rejects.toThrow(
      "it has ended",
    );
    await new Promise((resolve) => setImmediate(resolve));
    const asked = [call("who"), call("who"), call("who")];

    await failed;
    for (const answer of await Promise.all(asked)) expect(answer).toMatchObject({ secret: "s2" });
    expect(served.events.filter(({ type }) => type === "warning")).toEqual([]);
    expect(replaced).toEqual(["3 restarted"]);
    const ids = transport.received.flatMap((message) => ("id" in message ? [message.id] : []));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("hears once what the client has said while there was none", async () => {
    const { control, call, client } = await connect({ swap });
    const replaced = control.replace(planWith({ SECRET: "new" }));
    await new Promise((resolve) => setImmediate(resolve));

    await Promise.all([client.setLoggingLevel("debug"), client.subscribeResource({ uri: "file:///a" })]);
    await replaced;

    expect(await call("who")).toMatchObject({
      secret: "new",
      level: "debug",
      heard: ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe"],
    });
  });

  it("is waited for 10 s from the moment at which the old one has gone", async () => {
    const session = await connect({ clock, swap: { mode: "sequential", drainMs: 15_000 } });
    const { control, call, pids } = session;
    const slow = outcome(call("wait", { ms: 60_000, value: "never" }));
    await roundTrip(session);
    const replaced = outcome(control.replace(planWith({ HANGS: "yes", PID_FILE: join(folder, "pid") })));
    await clock.advance(11_000);
    const held = outcome(call("who"));
    await clock.advance(4_000);
    await until("the old one's time is up", () => String(slow()).includes("server restarted"));
    await untilLater("the old one is gone", () => !isAlive(pids[0] as number));
    expect(held()).toBe("pending");

    await clock.advance(9_000);
    expect(held()).toBe("pending");
    await untilLater("it is refused", () => String(held()).includes("the server is being restarted"));

    expect(held()).toContain("-32603");
    expect(replaced()).toBe("pending");
  });

  it("is asked what was held for the next one when the client ends its input", async () => {
    const session = await connect({ clock, swap });
    const { control, call, served, pids } = session;
    const hold = join(folder, "hold");
    writeFileSync(hold, "");
    const slow = call("wait", { hold, value: "in time" });
    await roundTrip(session);
    const replaced = outcome(control.replace(planWith({ SECRET: "new" })));
    await clock.advance(0);
    const held = call("who");

    served.stdin.end();
    rmSync(hold);

    expect(await held).toMatchObject({ pid: pids[0] });
    expect(await slow).toBe("in time");
    expect((await served.served).exitCode).toBe(0);
    expect(replaced()).toBe("the session ends");
  });

  it("is replaced by the new one if it dies while it is waited for", async () => {
    const session = await connect({ clock, swap });
    const { control, call, pids, replaced } = session;
    const dead = call("wait", { ms: 60_000, value: "never" });
    await roundTrip(session);
    const change = control.replace(planWith({ SECRET: "new" }));

    process.kill(pids[0] as number, "SIGKILL");

    await expect(dead).rejects.toThrow("server restarted, generation 2");
    await change;
    expect(await call("who")).toMatchObject({ secret: "new" });
    expect(replaced).toEqual(["2 replaced"]);
  });

  it("ends with its own exit code when a signal comes while there is none", async () => {
    const session = await connect({ clock, swap });
    const { control, call, served, pids } = session;
    const plan = planWith({ HANGS: "yes", PID_FILE: join(folder, "pid") });
    const change = outcome(control.replace(plan));
    await until("the old one is gone", () => !isAlive(pids[0] as number));
    const held = outcome(call("who"));
    await new Promise((resolve) => setImmediate(resolve));

    served.signal("SIGTERM");

    expect(await served.served).toMatchObject({ exitCode: 0, endedByItself: false });
    expect(change()).toBe("the session ends");
    await until("what was held is answered", () => String(held()).includes("-32603"));
  });
});

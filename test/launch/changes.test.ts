/** Who asks for another server: when he may, what he hears, and that what he hands over is released once. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ReplaceError } from "../../src/launch/serving.ts";
import { connect, planWith, start } from "../helpers/mcp-session.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";

const INITIALIZE =
  '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}\n';
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}\n';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-run-changes-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** What has become of it by now. */
function outcome(promise: Promise<unknown>): () => string {
  let state = "pending";
  promise.then(
    () => {
      state = "resolved";
    },
    (error: Error) => {
      state = `${error.name}: ${error.message}`;
    },
  );
  return () => state;
}

function releasable(env: Record<string, string>) {
  const release = vi.fn(async () => undefined);
  return { plan: { ...planWith(env), release }, release };
}

/** A plan whose server does not answer, and its pid once it runs. */
function hanging() {
  const file = join(folder, "pid");
  const pid = async () => {
    await until("it runs", () => {
      try {
        return readFileSync(file, "utf8") !== "";
      } catch {
        return false;
      }
    });
    return Number(readFileSync(file, "utf8"));
  };
  return { ...releasable({ HANGS: "yes", PID_FILE: file }), pid };
}

describe("the time to replace a server", () => {
  it("comes when the client has introduced itself", async () => {
    const { served, control } = await start();
    const ready = control.ready();
    const state = outcome(ready);
    served.stdin.write(INITIALIZE);
    await until("it is answered", () => served.out().includes('"id":"i"'));
    await settle();
    expect(state()).toBe("pending");

    served.stdin.write(INITIALIZED);

    await ready;
  });

  it("does not come while an old server finishes its work", async () => {
    const clock = new VirtualClock();
    const { control, call, pids } = await connect({ clock, swap: { mode: "overlap", drainMs: 5_000 } });
    const slow = call("wait", { ms: 60_000, value: "never" }).catch((error: Error) => error.message);
    await control.replace(planWith({ SECRET: "new" }));
    const ready = control.ready();
    const state = outcome(ready);
    await settle();
    expect(state()).toBe("pending");

    await clock.advance(5_000);
    expect(await slow).toContain("server restarted");
    expect(state()).toBe("pending");
    await clock.advance(1_500);

    await ready;
    expect(isAlive(pids[0] as number)).toBe(false);
  });

  it("does not come while there is no server, but when the next one is there", async () => {
    const clock = new VirtualClock();
    const { control, pids, served, call } = await connect({ clock });
    process.kill(pids[0] as number, "SIGKILL");
    await until("its end is known", () => served.events.length > 0);
    const ready = control.ready();
    const state = outcome(ready);
    await clock.advance(199);
    expect(state()).toBe("pending");
    await expect(control.replace(planWith({}))).rejects.toThrow("no server runs now");

    await clock.advance(1);
    await ready;

    expect(await call("who")).toMatchObject({ secret: "s2" });
  });

  it("does not come any more when the session ends", async () => {
    const { served, control } = await start();
    const ready = control.ready();
    ready.catch(() => undefined);

    served.stdin.end();

    await expect(ready).rejects.toBeInstanceOf(ReplaceError);
    await served.served;
    await expect(control.ready()).rejects.toBeInstanceOf(ReplaceError);
  });
});

describe("a plan that was handed over", () => {
  it("is released when it came too early, and nothing is started", async () => {
    const { control } = await start();
    const { plan, release } = releasable({});

    await expect(control.replace(plan)).rejects.toThrow(
      new ReplaceError("the client has not introduced itself yet"),
    );

    expect(release).toHaveBeenCalledOnce();
  });

  it.each([
    ["there is no such program", { command: "/nonexistent/server" }, /nonexistent/],
    ["its server ends at once", planWith({ FAILS_TO_START: "yes" }), /^it has ended$/],
  ])("is released when %s, and the old server goes on", async (_why, changes, message) => {
    const { control, call, pids } = await connect();
    const { plan, release } = releasable({});

    const replaced = control.replace({ ...plan, ...changes, release });

    await expect(replaced).rejects.toThrow(message);
    await expect(replaced).rejects.toBeInstanceOf(ReplaceError);
    await until("it is released", () => release.mock.calls.length > 0);
    expect(release).toHaveBeenCalledOnce();
    expect(await call("who")).toMatchObject({ pid: pids[0] });
  });

  it("is released when its server has been silent for 30 s", async () => {
    const clock = new VirtualClock();
    const { control, call } = await connect({ clock });
    const { plan, release, pid } = hanging();
    const replaced = outcome(control.replace(plan));
    const next = await pid();

    await until("it was asked", () => clock.pending > 0);
    await clock.advance(30_000);

    expect(replaced()).toBe("ReplaceError: no answer within 30 s");
    await until("it is gone", () => !isAlive(next) && release.mock.calls.length === 1);
    expect(await call("who")).toMatchObject({ secret: "s1" });
  });

  it("is released, and not started, when the session ends while it waits for another change", async () => {
    const { control, served } = await connect();
    const [first, second] = [hanging(), releasable({})];
    const before = outcome(control.replace(first.plan));
    const waiting = outcome(control.replace(second.plan));
    const pid = await first.pid();

    served.stdin.end();
    await served.served;

    expect(before()).toBe("ReplaceError: the session ends");
    expect(waiting()).toBe("ReplaceError: the session ends");
    expect([first.release, second.release].map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
    expect(isAlive(pid)).toBe(false);
    await expect(control.replace(releasable({}).plan)).rejects.toBeInstanceOf(ReplaceError);
  });

  it("is used after the one before, and each is told once", async () => {
    const { control, call, replaced } = await connect();

    await Promise.all(["a", "b", "c"].map((value) => control.replace(planWith({ SECRET: value }))));

    expect(await call("who")).toMatchObject({ secret: "c" });
    expect(replaced).toEqual(["2 replaced", "3 replaced", "4 replaced"]);
  });

  it("is refused where nothing is to be replaced, while a signal is possible", async () => {
    const { control, call } = await connect({ swap: undefined as never });
    const { plan, release } = releasable({});

    await expect(control.replace(plan)).rejects.toThrow("this server is not to be replaced");
    await control.ready();
    await control.signal("SIGHUP");

    expect(release).toHaveBeenCalledOnce();
    expect(await call("who")).toMatchObject({ secret: "s1" });
  });
});

describe("a signal to the server", () => {
  const probe = { tool: "works", arguments: {} };

  it("reaches the server itself, which goes on", async () => {
    const { control, call, pids } = await connect({ probe });

    await control.signal("SIGHUP");

    expect(await call("who")).toMatchObject({ hangups: 1, pid: pids[0] });
  });

  it("is told as failed if the server does not pass its probe afterwards", async () => {
    const plan = planWith({ BREAKS_AT_SIGHUP: "yes" });
    const { control, call } = await connect({ probe, prepare: async () => plan });

    const sent = control.signal("SIGHUP");

    await expect(sent).rejects.toThrow(new ReplaceError("its probe works failed"));
    expect(await call("who")).toMatchObject({ hangups: 1 });
  });

  it("is told as failed if the server dies of it", async () => {
    const { control } = await connect({ probe });

    await expect(control.signal("SIGKILL")).rejects.toThrow(new ReplaceError("it has ended"));
  });

  it("is not sent where its proof would come before the client's own handshake", async () => {
    const { control } = await start({ probe });

    await expect(control.signal("SIGHUP")).rejects.toThrow(
      new ReplaceError("the client has not introduced itself yet"),
    );
  });

  it("is not sent while no server runs", async () => {
    const clock = new VirtualClock();
    const { control, pids, served } = await connect({ clock });
    process.kill(pids[0] as number, "SIGKILL");
    await until("its end is known", () => served.events.length > 0);

    await expect(control.signal("SIGHUP")).rejects.toThrow(new ReplaceError("no server runs now"));
  });
});

describe("a server that ends in the middle of a change", () => {
  it("leaves the old one in its place if it was to be the next", async () => {
    const { control, call, pids, replaced } = await connect();
    const { plan, pid } = hanging();
    const state = control.replace(plan);
    state.catch(() => undefined);

    process.kill(await pid(), "SIGKILL");

    await expect(state).rejects.toThrow(new ReplaceError("it has ended"));
    expect(await call("who")).toMatchObject({ pid: pids[0] });
    expect(replaced).toEqual([]);
    await control.replace(planWith({ SECRET: "later" }));
    expect(await call("who")).toMatchObject({ secret: "later" });
  });

  it("is followed by a third one if both die at once, and each dead request gets one error", async () => {
    const { control, call, transport, pids, replaced } = await connect();
    const { plan, pid } = hanging();
    const dead = [1, 2].map((value) => call("wait", { ms: 60_000, value: `${value}` }));
    const state = outcome(control.replace(plan));
    const next = await pid();

    process.kill(pids[0] as number, "SIGKILL");
    process.kill(next, "SIGKILL");

    const outcomes = await Promise.allSettled(dead);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await call("who")).toMatchObject({ secret: "s2" });
    expect(state()).toBe("ReplaceError: it has ended");
    expect(replaced).toEqual(["3 restarted"]);
    expectOneAnswerEach(transport);
  });

  it("is not followed by a third one under `onCrash: exit`", async () => {
    const { control, pids, served } = await connect({ onCrash: "exit" });
    const { plan, pid } = hanging();
    const state = outcome(control.replace(plan));
    const next = await pid();

    process.kill(pids[0] as number, "SIGKILL");
    process.kill(next, "SIGKILL");

    expect(await served.served).toMatchObject({ exitCode: 137, endedByItself: true });
    expect(state()).toMatch(/^ReplaceError: /);
  });

  it("is replaced all the same if it was the current one", async () => {
    const { control, call, transport, pids, replaced } = await connect({
      probe: { tool: "wait", arguments: { ms: 300, value: "proven" } },
    });
    const dead = call("wait", { ms: 60_000, value: "never" });
    const state = control.replace(planWith({ SECRET: "new" }));

    process.kill(pids[0] as number, "SIGKILL");

    await expect(dead).rejects.toThrow("server restarted");
    await state;
    expect(await call("who")).toMatchObject({ secret: "new" });
    expect(replaced).toEqual(["2 replaced"]);
    expectOneAnswerEach(transport);
  });

  it("is told once for each of its requests if it was an old one at work", async () => {
    const { control, call, transport, pids } = await connect();
    const dead = [1, 2].map((value) => call("wait", { ms: 60_000, value: `${value}` }));
    await control.replace(planWith({ SECRET: "new" }));

    process.kill(pids[0] as number, "SIGKILL");

    const outcomes = await Promise.allSettled(dead);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(String((outcomes[0] as PromiseRejectedResult).reason)).toContain("generation 2");
    await control.ready();
    expect(await call("who")).toMatchObject({ secret: "new" });
    expectOneAnswerEach(transport);
  });

  it("does not disturb an older one that still works", async () => {
    const { control, call, pids, replaced } = await connect();
    const old = call("wait", { ms: 1_500, value: "from the oldest" });
    await control.replace(planWith({ SECRET: "new" }));
    const dead = call("wait", { ms: 60_000, value: "never" });
    await call("who");

    process.kill(pids[1] as number, "SIGKILL");

    await expect(dead).rejects.toThrow("server restarted, generation 3");
    expect(await call("who")).toMatchObject({ secret: "s2" });
    expect(await old).toBe("from the oldest");
    expect(replaced).toEqual(["2 replaced", "3 restarted"]);
  });
});

describe("the end of a session in the middle of a change", () => {
  it("by a signal: nobody takes over, and both servers go", async () => {
    const { control, served, pids, replaced } = await connect();
    const { plan, release, pid } = hanging();
    const state = outcome(control.replace(plan));
    const next = await pid();

    served.signal("SIGTERM");

    expect(await served.served).toMatchObject({ exitCode: 143, endedByItself: false });
    expect([pids[0] as number, next].map(isAlive)).toEqual([false, false]);
    expect(state()).toBe("ReplaceError: the session ends");
    expect(release).toHaveBeenCalledOnce();
    expect(replaced).toEqual([]);
  });

  it("by a signal: the next server has its time to end, too", async () => {
    const { control, served } = await connect();
    const { plan, pid } = hanging();
    const farewell = join(folder, "farewell");
    const replaced = outcome(control.replace({ ...plan, env: { ...plan.env, FAREWELL_FILE: farewell } }));
    await pid();

    served.signal("SIGTERM");
    await served.served;

    expect(replaced()).toBe("ReplaceError: the session ends");
    expect(readFileSync(farewell, "utf8")).toBe("SIGTERM");
  });

  it("by the end of its input: what the client has asked is still answered, also by an old server", async () => {
    // In which nobody is hurried who takes long to end.
    const { control, served, call, pids } = await connect({ clock: new VirtualClock() });
    const old = call("wait", { ms: 500, value: "from the old one" });
    await control.replace(planWith({ SECRET: "new" }));
    const current = call("wait", { ms: 100, value: "from the new one" });

    served.stdin.end();

    expect(await Promise.all([old, current])).toEqual(["from the old one", "from the new one"]);
    expect(await served.served).toMatchObject({ exitCode: 0, endedByItself: false });
    expect(pids.map(isAlive)).toEqual([false, false]);
  });

  it("by the death of a server that is not to be restarted: the old one finishes its work", async () => {
    const { control, served, call, pids } = await connect({ onCrash: "exit" });
    const old = call("wait", { ms: 500, value: "from the old one" });
    await control.replace(planWith({ SECRET: "new" }));

    process.kill(pids[1] as number, "SIGKILL");

    expect(await old).toBe("from the old one");
    expect(await served.served).toMatchObject({ exitCode: 137, endedByItself: true });
  });
});

function expectOneAnswerEach({ received }: { readonly received: readonly object[] }): void {
  const ids = received.flatMap((message) => ("id" in message && !("method" in message) ? [message.id] : []));
  expect(new Set(ids).size).toBe(ids.length);
}

/** What becomes of a client whose server has ended by itself. */
import { describe, expect, it } from "vitest";
import { InterruptedError, McpRunError } from "../../src/errors.ts";
import type { ServeOptions } from "../../src/launch/serving.ts";
import type { LaunchPlan } from "../../src/launch/spawn.ts";
import { connect, planWith, start } from "../helpers/mcp-session.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { serving } from "../helpers/serving.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

/** The first start is as it should be, and later ones as `later` says. */
function startingWith(later: (count: number) => Promise<LaunchPlan>): ServeOptions["prepare"] {
  let count = 0;
  return () => (++count === 1 ? Promise.resolve(planWith({ SECRET: "s1" })) : later(count));
}

/** Fetches for as long as it may. */
const untilStopped = (signal: AbortSignal) =>
  new Promise<LaunchPlan>((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
const unavailable = () => Promise.reject(new McpRunError("backend-unavailable", "Cannot reach vault"));
const warnings = (events: readonly { type: string; message?: unknown }[]) =>
  events.flatMap(({ type, message }) => (type === "warning" ? [message] : []));

describe("a server that has ended", () => {
  it("is given up after five failed starts, secrets that can't be fetched included", async () => {
    const clock = new VirtualClock();
    const session = await connect({ clock, prepare: startingWith(unavailable) });
    await session.call("die", { code: 4 }).catch(() => undefined);
    let isOver = false;
    void session.served.served.finally(() => {
      isOver = true;
    });

    await until("it is given up", () => {
      void clock.advance(100);
      return isOver;
    });

    expect(await session.served.served).toMatchObject({ exitCode: 4, endedByItself: true });
    const said = warnings(session.served.events);
    expect(said.filter((message) => String(message).includes("Cannot reach vault"))).toHaveLength(5);
    expect(said.filter((message) => String(message).includes("starts in"))).toEqual(
      [200, 400, 800, 1_600, 3_200].map((ms) =>
        expect.stringMatching(new RegExp(`generation 2 starts in ${ms} ms$`)),
      ),
    );
    expect(said.at(-1)).toBe("no server came up five times in a row: given up");
  });

  it("is started again at once when it has lived for a minute, however often it had died before", async () => {
    const clock = new VirtualClock();
    const { call, served, pids } = await connect({ clock });
    const dies = async () => {
      const count = served.events.length;
      process.kill(pids.at(-1) as number, "SIGKILL");
      await until("its end is known", () => served.events.length > count);
    };
    await dies();
    await clock.advance(200);
    await call("who");
    await dies();
    await clock.advance(400);
    await call("who");
    await clock.advance(60_000);
    await dies();
    await clock.advance(200);

    expect(await call("who")).toMatchObject({ secret: "s4" });
    expect(warnings(served.events).map((message) => /in (\d+) ms/.exec(String(message))?.[1])).toEqual([
      "200",
      "400",
      "200",
    ]);
  });

  it("is started again later and later if it dies as soon as it serves, however long its start takes", async () => {
    const clock = new VirtualClock();
    const { call, served, pids, control } = await connect({
      clock,
      probe: { tool: "wait", arguments: { ms: 300, value: "slow to start" } },
    });
    await call("who");
    const dies = async () => {
      const count = served.events.length;
      process.kill(pids.at(-1) as number, "SIGKILL");
      await until("its end is known", () => served.events.length > count);
    };
    await dies();
    await clock.advance(200);
    await until("the next one is asked", () => clock.pending > 1);
    await clock.advance(5_000);
    await control.ready();

    await dies();

    expect(warnings(served.events).at(-1)).toMatch(/generation 3 starts in 400 ms$/);
  });

  it("keeps a request waiting for 10 s, and answers the next ones later", async () => {
    const clock = new VirtualClock();
    let isBack = false;
    const later = async () => (isBack ? planWith({ SECRET: "back" }) : unavailable());
    const session = await connect({ clock, prepare: startingWith(later) });
    process.kill(session.pids[0] as number, "SIGKILL");
    await until("its end is known", () => session.served.events.length > 0);
    let said = "";
    session.call("who").catch((error: Error) => {
      said = error.message;
    });
    // 0.2 + 0.4 + 0.8 + 1.6 s, and 3.2 s for the fifth.
    await clock.advance(3_000);
    isBack = true;

    await clock.advance(3_200);

    expect(said).toBe("");
    expect(await session.call("who")).toMatchObject({ secret: "back" });
  });

  it("has a request refused that has waited 10 s", async () => {
    const clock = new VirtualClock();
    let count = 0;
    const session = await connect({
      clock,
      prepare: (signal) => (++count === 1 ? Promise.resolve(planWith({})) : untilStopped(signal)),
    });
    process.kill(session.pids[0] as number, "SIGKILL");
    await until("its end is known", () => session.served.events.length > 0);
    let said = "";
    session.call("who").catch((error: Error) => {
      said = error.message;
    });
    await clock.advance(9_999);
    expect(said).toBe("");

    await clock.advance(1_000);

    await until("it is refused", () => said.includes("-32603"));
    expect(said).toContain("the server is being restarted");
  });

  it.each([
    ["a signal", (session: Awaited<ReturnType<typeof start>>) => session.served.signal("SIGTERM")],
    ["the end of the input", (session: Awaited<ReturnType<typeof start>>) => session.served.stdin.end()],
  ])("is not started again after %s, and the exit code is its own", async (_what, stop) => {
    const clock = new VirtualClock();
    const session = await connect({ clock });
    const { pids, served, replaced } = session;
    await session.call("die", { code: 6 }).catch(() => undefined);
    await until("its end is known", () => served.events.length > 0);

    stop(session);

    expect(await served.served).toMatchObject({ exitCode: 6, endedByItself: false });
    expect(replaced).toEqual([]);
    expect(pids.map(isAlive)).toEqual([false]);
  });

  it("is not started again if the signal comes while its secrets are fetched", async () => {
    let count = 0;
    const session = await connect({
      prepare: (signal) => (++count === 1 ? Promise.resolve(planWith({})) : untilStopped(signal)),
    });
    await session.call("die", { code: 6 }).catch(() => undefined);
    await until("its secrets are fetched", () => count === 2);

    session.served.signal("SIGINT");

    expect(await session.served.served).toMatchObject({ exitCode: 6, endedByItself: false });
  });

  it("is a bug of ours, and told as one, where its start fails for no reason that we know", async () => {
    const bug = new TypeError("x is not a function");
    const session = await connect({ prepare: startingWith(() => Promise.reject(bug)) });

    process.kill(session.pids[0] as number, "SIGKILL");

    await expect(session.served.served).rejects.toBe(bug);
  });
});

describe("a client that introduces itself while there is no server", () => {
  it("is known to the next one, which is told once", async () => {
    const { served, pids, replaced, control } = await start();
    served.stdin.write('{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n');
    await until("it is answered", () => served.out().includes('"id":1,"result"'));
    process.kill(pids[0] as number, "SIGKILL");
    await until("its end is known", () => served.events.length > 0);

    served.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    await control.ready();

    served.stdin.write('{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who"}}\n');
    await until("it says who it is", () => served.out().includes('"id":2,"result"'));
    expect(served.out().match(/initialized/g)).toHaveLength(1);
    expect(replaced).toEqual(["2 restarted"]);
  });
});

describe("a server that ends at the probe of a newer client", () => {
  it("is started again for an older one, and not proven before that has introduced itself", async () => {
    const { served, replaced } = await start({
      prepare: async () => planWith({ DIES_OF_PROBE: "yes" }),
      probe: { tool: "die", arguments: {} },
    });

    served.stdin.write('{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}\n');

    await until("it is answered", () => served.out().includes("-32601"));
    await until("another one is there", () => replaced.length > 0);
    served.stdin.write('{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}\n');
    await until("that answers", () => served.out().includes('"id":2,"result"'));
    expect(replaced).toEqual(["2 restarted"]);
  });
});

describe("a server that ends before the handshake of its client is answered", () => {
  it("is not started again, though it has refused the probe of a newer client", async () => {
    const { served, replaced } = await start();
    served.stdin.write('{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}\n');
    await until("it is answered", () => served.out().includes("-32601"));

    served.stdin.write(
      '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"die","arguments":{"code":7}}}\n',
    );

    expect(await served.served).toMatchObject({ exitCode: 7, endedByItself: true });
    expect(served.out()).toContain('"id":2,"error"');
    expect(replaced).toEqual([]);
  });
});

describe("a signal while the first server is being started", () => {
  it("has it stopped, and the start given up", async () => {
    let isStopped = false;
    const plan = planWith({});
    const client: ReturnType<typeof serving> = serving(plan, {
      prepare: async () => ({
        ...plan,
        // Read by whoever spawns it.
        get command() {
          client.signal("SIGTERM");
          return plan.command;
        },
        release: async () => {
          isStopped = true;
        },
      }),
    });

    await expect(client.served).rejects.toBeInstanceOf(InterruptedError);
    expect(isStopped).toBe(true);
  });
});

/** The secrets of a server that runs, looked after: a store in memory behind it, time and servers by hand. */
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour, type MemoryKind } from "../../../providers/memory.ts";
import type { CommandContext } from "../../../src/commands/context.ts";
import { Refreshing } from "../../../src/commands/run/refreshing.ts";
// Loaded when it is first needed, and here before, so that no test has to wait for that.
import "../../../src/commands/run/renewal.ts";
import { SecretsInUse } from "../../../src/commands/start/secrets-in-use.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { McpRunEvent } from "../../../src/events.ts";
import { ReplaceError, type ServerControl } from "../../../src/launch/serving.ts";
import type { LaunchPlan } from "../../../src/launch/spawn.ts";
import { mcpRunPaths } from "../../../src/paths.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import { NeedleSet } from "../../../src/scrub/needle-set.ts";
import { scrubText } from "../../../src/scrub/scrub-stream.ts";
import type { ProviderKind } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import type { SecretSpec } from "../../../src/secrets/spec.ts";
import { Installation } from "../../helpers/installation.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { settle, VirtualClock } from "../../helpers/virtual-clock.ts";
import { secret } from "../../secrets/requests.ts";

const MINUTE = 60_000;
const homes: Installation[] = [];
afterEach(() => {
  for (const home of homes.splice(0)) home.remove();
});

interface Given {
  readonly secrets?: readonly SecretSpec[];
  readonly refresh?: Partial<Profile["refresh"]>;
  readonly secretsInArgs?: readonly string[];
  /** Says why a server with this plan can't take over. */
  readonly refuses?: (plan: LaunchPlan) => string | undefined;
  /** Why the server is not well after a signal. */
  readonly signalFails?: string;
  /** Every value is lent, for an hour. */
  readonly lends?: true;
  /** SIGUSR2 comes, and A changes, while the server is being started. */
  readonly changesEarly?: string;
}

/** The same, with a lease for each value that is fetched. */
function lending(memory: MemoryKind): unknown {
  const lease = {
    term: { durationMs: 60 * MINUTE, renewable: false },
    renew: never,
    revoke: async () => undefined,
  };
  return {
    ...memory,
    open: async (...given: Parameters<MemoryKind["open"]>) => {
      const store = await memory.open(...given);
      const fetch = store.fetch.bind(store);
      store.fetch = async (refs, signal) => {
        const answers = new Map(await fetch(refs, signal));
        for (const [ref, answer] of answers)
          if (!(answer instanceof ProviderError)) answers.set(ref, { ...answer, lease: { ...lease } });
        return answers;
      };
      return store;
    },
  };
}

async function never(): Promise<never> {
  throw new Error("nobody asks for more time");
}

/** A server that runs with A and B out of a store in memory; nothing looks yet. */
async function running(given: Given = {}) {
  const home = new Installation();
  homes.push(home);
  const clock = new VirtualClock();
  const behaviour: MemoryBehaviour = {};
  const memory = createMemoryKind({ a: "canary-a1", b: "canary-b1" }, behaviour);
  const store = await memory.open({}, testContext({ clock }));
  const events: McpRunEvent[] = [];
  /** Looks that went well. */
  const looks: McpRunEvent[] = [];
  let wanted: () => void = () => undefined;
  const env = { PATH: process.env.PATH ?? "", MCP_RUN_HOME: home.home };
  const context = {
    ...testContext({ clock }),
    env,
    cwd: home.home,
    home: home.home,
    nodePath: process.execPath,
    scriptPath: "/nonexistent/main.cjs",
    packageRoot: "/nonexistent",
    paths: mcpRunPaths(env, "linux", home.home),
    platform: "linux",
    gid: process.getgid?.(),
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    onTerminal: false,
    printer: {
      emit: (event: McpRunEvent) => void (event.type === "looked" ? looks : events).push(event),
      printError: (error: unknown) => {
        throw error;
      },
      listen: () => undefined,
      scrubWith: () => undefined,
    },
    abandonOutput: () => undefined,
    kinds: { names: ["memory"], load: async () => (given.lends ? lending(memory) : memory) as ProviderKind },
    options: { allowPlaintext: false },
    onSignal: () => () => undefined,
    onRefreshSignal: (listener: () => void) => {
      wanted = listener;
      return () => undefined;
    },
  } as CommandContext;
  const profile: Profile = {
    name: "p",
    file: "/nonexistent/p.yaml",
    command: "server",
    args: [],
    env: {},
    inheritEnv: [],
    secrets: given.secrets ?? [secret("A", "memory:a"), secret("B", "memory:b")],
    secretsFrom: [],
    secretsInArgs: given.secretsInArgs ?? [],
    stopGraceMs: 1,
    maxLineBytes: 1,
    fetchTimeoutMs: 10_000,
    refresh: { restart: "overlap", drainMs: 1, ...given.refresh },
    onCrash: "restart",
    stdout: "warn",
    audit: { calls: "off", keptDays: 90 },
    variablesUsed: [],
    providers: new Map(),
  };
  const needles = new NeedleSet();
  const inUse = new SecretsInUse({ context, profile, purpose: "server" }, needles);
  const refreshing = new Refreshing(context, profile, inUse);
  const plans: LaunchPlan[] = [];
  const signals: string[] = [];
  const control: ServerControl = {
    ready: () => Promise.resolve(),
    replace: async (plan) => {
      const refusal = given.refuses?.(plan);
      if (refusal) {
        await plan.release?.();
        throw new ReplaceError(refusal);
      }
      await plans.at(-1)?.release?.();
      plans.push(plan);
      refreshing.runs(100 + plans.length, plans.length);
    },
    hurry: () => undefined,
    withhold: () => "nothing is to wait",
    isDraining: () => false,
    drained: () => Promise.resolve(),
    client: () => ({ era: "undecided" }),
    state: () => "serving",
    signal: async (signal) => {
      signals.push(signal);
      if (given.signalFails) throw new ReplaceError(given.signalFails);
    },
  };
  await inUse.fetch(new AbortController().signal);
  const start = inUse.start();
  inUse.runs(start);
  plans.push(start.plan);
  refreshing.runs(101, 1);
  const put = (path: string, value: string) =>
    store.put({ path }, new Secret(value), new AbortController().signal);
  if (given.changesEarly) {
    await put("a", given.changesEarly);
    wanted();
  }
  await refreshing.begin(control);
  return {
    clock,
    behaviour,
    events,
    looks,
    plans,
    signals,
    needles,
    inUse,
    refreshing,
    put,
    envs: () => plans.map(({ env: { A, B } }) => [A, B]),
    told: () => events.map((event) => event.type),
    scrubbed: (text: string) => scrubText(text, needles),
    /** As SIGUSR2 does, until nothing more happens without time. */
    look: async () => {
      wanted();
      await quiet();
    },
  };
}

/** Lets everything happen that needs no time. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    await settle();
  }
}

describe("leases that are to be replaced", () => {
  it("are replaced by the next look although the clock goes back before it, and no others are", async () => {
    const { refreshing, inUse, clock, put, envs } = await running({ lends: true });
    await put("a", "canary-a2");
    await put("b", "canary-b2");
    await refreshing.now();
    expect(envs()).toEqual([["canary-a1", "canary-b1"]]);

    refreshing.renew(({ from }) => from === "memory:a");
    const now = clock.now();
    clock.now = () => now - MINUTE;
    await refreshing.now();

    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
    await refreshing.stop();
    await inUse.release();
  });
});

describe("whoever asks for a look", () => {
  it("is told of its end, whichever way it ended, and never of one that had begun before", async () => {
    const { refreshing, behaviour, put, envs } = await running();
    const ends: string[] = [];
    await put("a", "canary-a2");

    const first = refreshing.now().then(() => ends.push("first"));
    const second = refreshing.now().then(() => ends.push("second"));
    await first;
    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
    await second;
    behaviour.failure = () => new ProviderError("unavailable", "down");
    await refreshing.now().then(() => ends.push("third"));

    expect(refreshing.outlook.lastFailure).toMatchObject({
      reason: expect.stringContaining("down"),
      mayPass: true,
    });
    expect(ends).toEqual(["first", "second", "third"]);
  });

  it("waits for none that will not come any more", async () => {
    const { refreshing } = await running();
    await refreshing.stop();

    await refreshing.now();
  });

  it("is told of news: each look that has ended, and each server that has taken over", async () => {
    const { refreshing, put } = await running();
    let news = 0;
    refreshing.onNews(() => {
      news++;
    });

    await refreshing.now();
    expect(news).toBe(1);
    await put("a", "canary-a2");
    await refreshing.now();
    expect(news).toBe(3);
  });
});

describe("a look at the secrets of a server that runs", () => {
  it("changes nothing if nothing has changed", async () => {
    const { look, looks, plans, events } = await running();
    await look();

    expect([plans.length, events]).toEqual([1, []]);
    expect(looks).toEqual([{ type: "looked", profile: "p", generation: 1 }]);
  });

  it("starts one server for all that changed together, and says which", async () => {
    const { look, put, envs, events } = await running();
    await put("a", "canary-a2");
    await put("b", "canary-b2");
    await look();

    expect(envs()).toEqual([
      ["canary-a1", "canary-b1"],
      ["canary-a2", "canary-b2"],
    ]);
    expect(events).toMatchObject([
      {
        type: "swapped",
        profile: "p",
        generation: 2,
        pid: 102,
        changed: [
          { name: "A", from: "memory:a" },
          { name: "B", from: "memory:b" },
        ],
      },
    ]);
  });

  it("takes note of a new version of the same value without another server", async () => {
    const { look, put, plans, inUse } = await running();
    const before = inUse.resolution.secrets[0]?.version;
    await put("a", "canary-a1");
    await look();

    expect(plans).toHaveLength(1);
    expect(inUse.resolution.secrets.find(({ name }) => name === "A")?.version).not.toBe(before);
  });

  it("hides old and new values while both are about", async () => {
    const { look, put, needles } = await running();
    await put("a", "canary-a2");
    await look();

    expect(scrubText("canary-a1 canary-a2 canary-b1", needles)).toBe("[mcp-run:A] [mcp-run:A] [mcp-run:B]");
  });

  it("keeps the old set when a backend fails, says so once, tries again, and says when it works again", async () => {
    const { look, put, clock, behaviour, plans, events, envs } = await running();
    await put("a", "canary-a2");
    behaviour.failure = (operation) =>
      operation === "fetch" || operation === "currentVersion"
        ? new ProviderError("unavailable", "no answer")
        : undefined;
    await look();
    await clock.advance(2 * MINUTE);
    await look();

    expect(plans).toHaveLength(1);
    expect(events).toMatchObject([{ type: "refresh-failed", profile: "p" }]);
    expect(JSON.stringify(events)).not.toContain("canary");
    expect(JSON.stringify(events)).not.toContain("server was not started");

    delete behaviour.failure;
    await look();
    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
    expect(events.slice(1)).toMatchObject([{ type: "swapped" }, { type: "notice" }]);
  });

  it("keeps the old set when the new server can't take over, says so once, and tries again", async () => {
    let isBad = true;
    const { look, put, events, envs, inUse } = await running({
      refuses: () => (isBad ? "its probe get_me failed" : undefined),
    });
    await put("a", "canary-a2");
    await look();
    await look();
    expect(events).toMatchObject([
      { type: "refresh-failed", reason: "no other server could take over: its probe get_me failed" },
    ]);
    expect(inUse.start().plan.env.A).toBe("canary-a1");

    isBad = false;
    await look();
    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
  });

  it("fetches what a server is started with that others before it did not come up with", async () => {
    const { put, inUse, refreshing, behaviour, events } = await running();
    const { signal } = new AbortController();
    await put("a", "canary-a2");
    await refreshing.catchUp(signal);
    expect(inUse.start().plan.env.A).toBe("canary-a2");

    behaviour.failure = () => new ProviderError("unavailable", "no answer");
    await refreshing.catchUp(signal);
    expect(inUse.start().plan.env.A).toBe("canary-a2");
    expect(events).toMatchObject([{ type: "warning" }]);
  });

  it("only reports under `never`, once for each change; the next server gets the new value", async () => {
    const { look, put, plans, events, inUse } = await running({ refresh: { restart: "never" } });
    await put("a", "canary-a2");
    await look();
    await look();

    expect(plans).toHaveLength(1);
    expect(events).toMatchObject([{ type: "not-swapped", generation: 1, changed: [{ name: "A" }] }]);
    expect(inUse.start().plan.env.A).toBe("canary-a2");
  });

  it("comes as soon as it can if it was asked for too early", async () => {
    const { envs } = await running({ changesEarly: "canary-a2" });
    await quiet();

    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
  });

  it("looks every so often", async () => {
    const { clock, put, envs } = await running({ refresh: { everyMs: 15 * MINUTE } });
    await put("a", "canary-a2");
    // In steps, since a backend that answers at once must not seem to take minutes.
    for (let step = 0; step < 20 * 12; step++) {
      await clock.advance(MINUTE / 12);
      await quiet();
    }

    expect(envs().at(-1)).toEqual(["canary-a2", "canary-b1"]);
  });
});

describe("refresh: { signal }", () => {
  const file = (name: string, ref: string) => secret(name, ref, { deliver: "file" });

  it("replaces the files of the server that runs, and tells it", async () => {
    const { look, put, plans, signals, events } = await running({
      secrets: [file("A", "memory:a"), secret("B", "memory:b")],
      refresh: { signal: "SIGHUP" },
    });
    const path = plans[0]?.env.A_FILE ?? "";
    await put("a", "canary-a2");
    await look();

    expect(readFileSync(path, "utf8")).toBe("canary-a2");
    expect([signals, plans.length]).toEqual([["SIGHUP"], 1]);
    expect(events).toMatchObject([{ type: "signalled", signal: "SIGHUP", changed: [{ name: "A" }] }]);
  });

  it("starts another server if something else has changed too, or the probe fails after the signal", async () => {
    const both = await running({
      secrets: [file("A", "memory:a"), secret("B", "memory:b")],
      refresh: { signal: "SIGHUP" },
    });
    await both.put("a", "canary-a2");
    await both.put("b", "canary-b2");
    await both.look();
    expect([both.signals, both.plans.length]).toEqual([[], 2]);

    const failing = await running({
      secrets: [file("A", "memory:a")],
      refresh: { signal: "SIGHUP" },
      signalFails: "its probe get_me failed",
    });
    await failing.put("a", "canary-a2");
    await failing.look();
    expect([failing.signals, failing.plans.length]).toEqual([["SIGHUP"], 2]);
    expect(failing.told()).toEqual(["swapped", "warning"]);
  });
});

describe("refresh: { signal } with a value that does not work", () => {
  const given = {
    secrets: [secret("A", "memory:a", { deliver: "file" })],
    refresh: { signal: "SIGHUP" },
    signalFails: "its probe get_me failed",
    refuses: () => "its probe get_me failed",
  } as const;

  it("puts the old one back into its file and tells the server, which would go on with the new one", async () => {
    const { look, put, plans, signals, scrubbed } = await running(given);
    await put("a", "canary-a2");
    await look();

    expect(readFileSync(plans[0]?.env.A_FILE ?? "", "utf8")).toBe("canary-a1");
    expect(signals).toEqual(["SIGHUP", "SIGHUP"]);
    expect(scrubbed("canary-a1 canary-a2")).toBe("[mcp-run:A] [mcp-run:A]");
  });

  it("does so under `never` too", async () => {
    const refresh = { ...given.refresh, restart: "never" } as const;
    const { look, put, plans, signals, events } = await running({ ...given, refresh });
    await put("a", "canary-a2");
    await look();

    expect(readFileSync(plans[0]?.env.A_FILE ?? "", "utf8")).toBe("canary-a1");
    expect(signals).toEqual(["SIGHUP", "SIGHUP"]);
    expect(events).toMatchObject([
      { type: "refresh-failed", reason: "SIGHUP was not enough: its probe get_me failed" },
    ]);
  });

  it("is told once", async () => {
    const { look, put, told } = await running(given);
    await put("a", "canary-a2");
    await look();
    await look();
    await look();

    expect(told()).toEqual(["refresh-failed"]);
  });
});

describe("a secret that does not reach the server", () => {
  it("changes without a word, unless it stands in the arguments", async () => {
    const secrets = [secret("A", "memory:a", { deliver: "none" }), secret("B", "memory:b")];
    const quiet = await running({ secrets });
    await quiet.put("a", "canary-a2");
    await quiet.look();
    expect([quiet.plans.length, quiet.events]).toEqual([1, []]);

    const shown = await running({ secrets, secretsInArgs: ["A"] });
    await shown.put("a", "canary-a2");
    await shown.look();
    expect(shown.plans).toHaveLength(2);
  });
});

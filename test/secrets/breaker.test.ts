import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { InterruptedError, ProviderError } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import { mcpRunPaths } from "../../src/paths.ts";
import { Breaker } from "../../src/secrets/breaker.ts";
import { CredentialTrail } from "../../src/secrets/credential-trail.ts";
import type { FetchedSecret, ProviderContext } from "../../src/secrets/provider.ts";
import type { ResolveRequest } from "../../src/secrets/resolution.ts";
import { resolveSecrets, tryResolveSecrets } from "../../src/secrets/resolve.ts";
import { Secret } from "../../src/secrets/secret.ts";
import type { ProviderEntry, Ref } from "../../src/secrets/spec.ts";
import { VersionChecks } from "../../src/secrets/version-checks.ts";
import { testEnvironment } from "../helpers/provider-context.ts";
import { type ScriptedBackend, scriptedBackend } from "../helpers/scripted-backend.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { failure, request, secret, valuesOf } from "./requests.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A machine, on which mcp-run is started again and again. */
class Machine {
  readonly home = mkdtempSync(join(tmpdir(), "mcp-run-breaker-"));
  // Files have the system's time, so the clock has to begin near it.
  readonly clock = new VirtualClock(Date.now());
  readonly events: McpRunEvent[] = [];
  readonly paths = mcpRunPaths({ MCP_RUN_HOME: this.home }, "linux", this.home);
  readonly folder = join(this.paths.state, "breaker");
  env: Record<string, string> = { VAULT_TOKEN: "canary-token-1" };
  settings: Record<string, unknown> = { address: "https://a" };
  /** What the backend says; set to let it recover. */
  trouble: ProviderError | undefined = new ProviderError("denied", "permission denied (403)", {
    hint: "vault login",
  });
  /** What it says to single documents. */
  answers: Record<string, ProviderError> = {};
  said = "canary-token-file";
  isRemote = true;

  constructor() {
    onTestFinished(() => rmSync(this.home, { recursive: true, force: true }));
  }

  get backend(): ScriptedBackend {
    const respond = (path: string): FetchedSecret | ProviderError => {
      if (this.trouble) throw this.trouble;
      return this.answers[path] ?? { value: new Secret(`canary-${path}`) };
    };
    const opens = (context: ProviderContext) => {
      context.env.get("VAULT_TOKEN");
      context.credentialIs(this.said);
    };
    return scriptedBackend({ name: "vault", isRemote: this.isRemote, respond, opens, needs: ["kv:role"] });
  }

  /** One start, which asks the backend or does not. */
  async start(
    changes: Partial<ResolveRequest> = {},
    roleId = "canary-role-1",
  ): Promise<{ readonly asked: boolean; readonly error?: ProviderError; readonly values: object }> {
    const backend = this.backend;
    const kv = scriptedBackend({ name: "kv", values: { role: roleId } });
    const entry: ProviderEntry = { name: "vault", type: "vault", settings: this.settings };
    const context = {
      ...request([]).context,
      clock: this.clock,
      paths: this.paths,
      env: testEnvironment(this.env),
      emit: (event: McpRunEvent) => this.events.push(event),
    };
    const { failures, secrets } = await tryResolveSecrets(
      request([backend, kv], {
        secrets: [secret("A", "vault:a")],
        providers: new Map([["vault", entry]]),
        context,
        breaker: "guards",
        ...changes,
      }),
    );
    const [first] = failures;
    return {
      asked: backend.calls.length > 0,
      values: valuesOf({ secrets }),
      ...(first && { error: first.error }),
    };
  }

  async fail(times: number): Promise<void> {
    for (let start = 0; start < times; start++) {
      const { asked } = await this.start();
      expect(asked, `start ${start + 1}`).toBe(true);
    }
  }

  get stateFiles(): string[] {
    return readdirSync(this.folder).filter((name) => name.endsWith(".json"));
  }
}

describe("a backend that has failed three times in a row", () => {
  it("is left alone, with the same kind of failure, its reason, and the time of the next try", async () => {
    const machine = new Machine();
    await machine.fail(3);

    const { asked, error } = await machine.start();

    expect(asked).toBe(false);
    const when = new Date(machine.clock.now() + 15_000).toISOString().slice(11, 19);
    expect([error?.failure, error?.reason, error?.hint]).toEqual([
      "denied",
      `permission denied (403); it has failed 3 times in a row and is left alone until ${when} UTC (15 s)`,
      "vault login; then mcp-run check, which asks at once",
    ]);
  });

  it("is tried once when the time has come, and left alone for twice as long when that fails, up to ten minutes", async () => {
    const machine = new Machine();
    await machine.fail(3);

    const pauses: number[] = [];
    for (let round = 0; round < 8; round++) {
      const since = machine.clock.now();
      while (!(await machine.start()).asked) await machine.clock.advance(1_000);
      pauses.push((machine.clock.now() - since) / 1_000);
    }

    expect(pauses).toEqual([15, 30, 60, 120, 240, 480, 600, 600]);
  });

  it("is not even asked for versions by a refresh until then", async () => {
    const machine = new Machine();
    const peeked: string[] = [];
    const { backend } = machine;
    const peeking = {
      ...backend,
      open: async (...args: Parameters<typeof backend.open>) => ({
        ...(await backend.open(...args)),
        async peekVersion({ path }: { path: string }) {
          peeked.push(path);
          return "1";
        },
      }),
    };
    const kv = scriptedBackend({ name: "kv", values: { role: "canary-role-1" } });
    const secrets = [secret("A", "vault:a")];
    const asked = { secrets, kinds: request([peeking, kv]).kinds };
    const { held } = await resolveSecrets(request([]));
    const document = { value: new Secret("canary-a"), version: "1" };
    const documents = new Map(secrets.map(({ source }) => [(source as { readonly ref: Ref }).ref, document]));
    const refresh = {
      ...asked,
      inUse: { documents, held, ending: new Set<never>(), checks: new VersionChecks() },
    };
    await machine.fail(3);

    expect((await machine.start(refresh)).error?.reason).toContain("left alone until");
    expect(peeked).toEqual([]);
    await machine.clock.advance(15_000);

    expect((await machine.start(refresh)).values).toEqual({ A: "canary-a" });
    expect(peeked).toEqual(["a"]);
    expect(machine.stateFiles).toEqual([]);
  });

  it("is asked as usual after one success, and counted anew", async () => {
    const machine = new Machine();
    await machine.fail(3);
    await machine.clock.advance(15_000);
    const trouble = machine.trouble;
    machine.trouble = undefined;

    expect((await machine.start()).values).toEqual({ A: "canary-a" });

    expect(machine.stateFiles).toEqual([]);
    machine.trouble = trouble;
    await machine.fail(3);
    expect((await machine.start()).asked).toBe(false);
  });

  it("is tried by one of several that start at the same time", async () => {
    const machine = new Machine();
    await machine.fail(3);
    await machine.clock.advance(15_000);

    const starts = await Promise.all(Array.from({ length: 5 }, () => machine.start()));

    expect(starts.filter(({ asked }) => asked)).toHaveLength(1);
    expect(new Set(starts.map(({ error }) => error?.failure))).toEqual(new Set(["denied"]));
  });

  it("is left alone by the one that reads the same state and is a moment later", async () => {
    const machine = new Machine();
    await machine.fail(3);
    await machine.clock.advance(15_000);
    const file = join(machine.folder, machine.stateFiles[0] as string);
    const { nextTryAt } = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(`${file}.${nextTryAt}.trial`, "");

    expect((await machine.start()).asked).toBe(false);
  });

  it("is tried by another one if the one that was about to try ended before it could note that", async () => {
    const machine = new Machine();
    await machine.fail(3);
    const file = join(machine.folder, machine.stateFiles[0] as string);
    const { nextTryAt } = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(`${file}.${nextTryAt}.trial`, "");
    await machine.clock.advance(MINUTE);

    const starts = await Promise.all(Array.from({ length: 5 }, () => machine.start()));

    expect(starts.filter(({ asked }) => asked)).toHaveLength(1);
  });

  it("is tried by another one if the one that tried never told how it went", () => {
    const machine = new Machine();
    const { clock } = machine;
    const question = {
      type: "vault",
      settings: {},
      credential: new CredentialTrail(),
      requests: [{ path: "a" }],
    };
    const start = () =>
      new Breaker({ stateFolder: machine.paths.state, letsThrough: false, clock, emit: () => undefined });
    const denied = new ProviderError("denied", "permission denied (403)");
    for (let times = 0; times < 3; times++) start().record(question, denied);
    const later = (ms: number) => clock.advance(ms).then(() => start().refusal(question)?.failure);

    return expect(
      (async () => [
        await later(14_999),
        await later(1),
        await later(0),
        await later(29_999),
        await later(1),
      ])(),
    ).resolves.toEqual(["denied", undefined, "denied", "denied", undefined]);
  });
});

describe("what is remembered of a backend", () => {
  it.each<[string, Partial<Pick<Machine, "env" | "settings" | "said">>, string?]>([
    ["another variable", { env: { VAULT_TOKEN: "canary-token-2" } }],
    ["a variable less", { env: {} }],
    ["other settings", { settings: { address: "https://b" } }],
    ["another secret zero", {}, "canary-role-2"],
    ["what the provider says of its credential", { said: "canary-other" }],
  ])("does not hold for %s", async (_what, change, roleId) => {
    const machine = new Machine();
    await machine.fail(3);

    Object.assign(machine, change);
    expect((await machine.start({}, roleId)).asked).toBe(true);
  });

  it("holds for the same settings in another order, and for an unrelated variable", async () => {
    const machine = new Machine();
    machine.settings = { address: "https://a", namespace: "team" };
    await machine.fail(3);

    machine.settings = { namespace: "team", address: "https://a" };
    machine.env = { ...machine.env, LANG: "C" };

    expect((await machine.start()).asked).toBe(false);
  });

  it("is in files of its user alone, which hold no credential and no plain hash of one", async () => {
    const machine = new Machine();
    await machine.fail(3);
    const other = new Machine();
    await other.fail(3);

    const files = readdirSync(machine.paths.state, { recursive: true, encoding: "utf8" })
      .map((name) => join(machine.paths.state, name))
      .filter((file) => statSync(file).isFile());
    expect(files).toHaveLength(2);
    for (const file of files) {
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(readFileSync(file, "latin1")).not.toContain("canary");
    }
    expect(statSync(machine.folder).mode & 0o777).toBe(0o700);
    expect(machine.stateFiles).not.toEqual(other.stateFiles);
  });

  it("does not grow: what nobody has touched for a day is swept", async () => {
    const machine = new Machine();
    await machine.fail(1);
    const [old = ""] = machine.stateFiles;
    const longAgo = new Date(machine.clock.now() - DAY - MINUTE);
    utimesSync(join(machine.folder, old), longAgo, longAgo);

    machine.env = { VAULT_TOKEN: "canary-token-2" };
    await machine.fail(1);

    expect(machine.stateFiles).toHaveLength(1);
    expect(machine.stateFiles).not.toContain(old);
  });

  it("is nothing at all on a machine where nothing has failed", async () => {
    const machine = new Machine();
    machine.trouble = undefined;

    await machine.start();

    expect(readdirSync(machine.home)).toEqual([]);
  });

  it.each([
    ["is cut off", '{"failures":3,"fail'],
    ["holds something else", '{"failures":"many"}'],
    ["is empty", ""],
    ["is no text", Buffer.from([0, 255, 254])],
  ])("stops no start when its file %s: one warning, and the backend is asked", async (_how, content) => {
    const machine = new Machine();
    await machine.fail(3);
    writeFileSync(join(machine.folder, machine.stateFiles[0] as string), content);

    expect((await machine.start()).asked).toBe(true);

    expect(machine.events.filter(({ type }) => type === "warning")).toHaveLength(1);
    expect(machine.events[0]).toMatchObject({ message: expect.stringContaining("is damaged") });
  });

  it("stops no start when it can't be written: one warning, and the backend's own failure", async () => {
    const machine = new Machine();
    // Root may write anywhere, so a file stands where the folder should be.
    mkdirSync(machine.paths.state, { recursive: true });
    writeFileSync(machine.folder, "");

    const { error } = await machine.start();

    expect(error?.reason).toBe("permission denied (403)");
    expect(machine.events).toEqual([
      {
        type: "warning",
        message: expect.stringMatching(/^no note can be kept of failing backends in .*: \w+$/),
      },
    ]);
  });

  it("does not lock a backend for longer than it says when the clock is set back", async () => {
    const machine = new Machine();
    await machine.fail(3);

    const { asked } = await machine.start({
      context: { ...request([]).context, ...contextAt(machine, machine.clock.now() - DAY) },
    });

    expect(asked).toBe(true);
  });
});

/** Lets time pass until the work has settled; real files are read in between. */
async function passUntil(clock: VirtualClock, work: Promise<unknown>): Promise<void> {
  let isSettled = false;
  void work.finally(() => {
    isSettled = true;
  });
  while (!isSettled) {
    await new Promise(setImmediate);
    await clock.advance(100);
  }
}

function contextAt(machine: Machine, now: number): Partial<ResolveRequest["context"]> {
  return { clock: new VirtualClock(now), paths: machine.paths, env: testEnvironment(machine.env) };
}

describe("who goes straight through", () => {
  it("is a person who is watching: asked whatever was before, and a success is taken note of", async () => {
    const machine = new Machine();
    await machine.fail(3);

    expect((await machine.start({ breaker: "lets-through" })).asked).toBe(true);
    expect((await machine.start()).asked).toBe(false);
    machine.trouble = undefined;
    await machine.start({ breaker: "lets-through" });

    expect((await machine.start()).asked).toBe(true);
  });

  it("adds nothing to what is remembered by failing", async () => {
    const machine = new Machine();
    for (let start = 0; start < 10; start++) await machine.start({ breaker: "lets-through" });

    expect(readdirSync(machine.home)).toEqual([]);
  });

  it("is any backend that is not across a network", async () => {
    const machine = new Machine();
    machine.isRemote = false;

    await machine.fail(10);

    expect(readdirSync(machine.home)).toEqual([]);
  });
});

describe("a failure that counts", () => {
  const missing = new ProviderError("missing", "there is no a");
  const denied = new ProviderError("denied", "permission denied (403)");
  const unavailable = new ProviderError("unavailable", "connection refused");
  const both = [secret("A", "vault:a"), secret("B", "vault:b")];

  it.each<[string, Record<string, ProviderError>, boolean]>([
    ["every document unavailable", { a: unavailable, b: unavailable }, true],
    ["every document denied", { a: denied, b: denied }, true],
    ["some of each", { a: unavailable, b: denied }, true],
    ["one document denied, one given", { a: denied }, false],
    ["one document unavailable, one missing", { a: unavailable, b: missing }, false],
    ["nothing there", { a: missing, b: missing }, false],
  ])("is one of the backend as a whole: %s", async (_what, answers, counts) => {
    const machine = new Machine();
    machine.trouble = undefined;
    machine.answers = answers;
    for (let start = 0; start < 3; start++) await machine.start({ secrets: both });

    expect((await machine.start({ secrets: both })).asked).toBe(!counts);
  });

  it("is for these documents only, if only these were denied: another profile may have the right", async () => {
    const machine = new Machine();
    machine.trouble = undefined;
    machine.answers = { a: denied };
    await machine.fail(3);

    expect((await machine.start()).asked).toBe(false);
    const other = await machine.start({ secrets: [secret("B", "vault:b")] });

    expect(other.values).toEqual({ B: "canary-b" });
  });

  it("is a backend that is silent until its deadline", async () => {
    const machine = new Machine();
    const { clock } = machine;
    const silent = () =>
      scriptedBackend({ name: "vault", isRemote: true, delayMs: Number.POSITIVE_INFINITY, clock });
    const start = async () => {
      const backend = silent();
      const context = { ...request([]).context, clock, paths: machine.paths };
      const secrets = [secret("A", "vault:a")];
      const starting = failure(resolveSecrets(request([backend], { secrets, context, breaker: "guards" })));
      await passUntil(clock, starting);
      return { asked: backend.calls.length > 0, message: (await starting).message };
    };
    for (let times = 0; times < 3; times++) expect((await start()).asked).toBe(true);

    const { asked, message } = await start();

    expect(asked).toBe(false);
    expect(message).toContain("no answer within 10 s; it has failed 3 times in a row");
  });

  it("is none of an interrupted start", async () => {
    const machine = new Machine();
    const { clock } = machine;
    for (let times = 0; times < 5; times++) {
      const backend = scriptedBackend({ name: "vault", isRemote: true, delayMs: 5_000, clock });
      const abort = new AbortController();
      const context = { ...request([]).context, clock, paths: machine.paths };
      const secrets = [secret("A", "vault:a")];
      const starting = failure(
        resolveSecrets(request([backend], { secrets, context, breaker: "guards", signal: abort.signal })),
      );
      await expect.poll(() => backend.calls).toHaveLength(1);
      abort.abort(new InterruptedError("SIGTERM"));
      await passUntil(clock, starting);
    }

    expect(readdirSync(machine.home)).toEqual([]);
  });
});

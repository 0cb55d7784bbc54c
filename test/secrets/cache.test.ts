import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { localKind } from "../../providers/local.ts";
import { ProviderError, type ProviderFailure } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import { mcpRunPaths, type Paths } from "../../src/paths.ts";
import { cacheFile, forgetUnwanted } from "../../src/secrets/cache-place.ts";
import { forgetCache } from "../../src/secrets/document-cache.ts";
import type { FetchedSecret, Lease, ProviderContext } from "../../src/secrets/provider.ts";
import type { Resolution, ResolveRequest } from "../../src/secrets/resolution.ts";
import { resolveSecrets } from "../../src/secrets/resolve.ts";
import { resolveAgain, VersionChecks } from "../../src/secrets/resolve-again.ts";
import { Secret } from "../../src/secrets/secret.ts";
import type { ProviderEntry } from "../../src/secrets/spec.ts";
import { until } from "../helpers/processes.ts";
import { type InMemoryKeychain, inMemoryKeychain, testEnvironment } from "../helpers/provider-context.ts";
import { kindsOf, type ScriptedBackend, scriptedBackend } from "../helpers/scripted-backend.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { failure, request, secret, valuesOf } from "./requests.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

const refused = new ProviderError("unavailable", "connection refused (ECONNREFUSED)", {
  hint: "its address",
});

interface Started {
  readonly values: Readonly<Record<string, string>>;
  readonly resolution: Resolution;
}

/** A machine with one profile that has a cache, and a backend across a network. */
class Machine {
  readonly home: string;
  // Files have the system's time, so the clock has to begin near it.
  readonly clock = new VirtualClock(Date.now());
  readonly events: McpRunEvent[] = [];
  readonly paths: Paths;
  readonly file: string;
  readonly backends: ScriptedBackend[] = [];
  /** What the backend has; a ProviderError is its answer to that path. */
  contents: Record<string, string | ProviderError | FetchedSecret> = { a: "canary-a", b: "canary-b" };
  /** What it says of versions. */
  versions: Record<string, string> = {};
  readonly checks = new VersionChecks();
  readonly secrets = [secret("A", "vault:a"), secret("B", "vault:b")];
  /** What it says to everything. */
  trouble: ProviderError | undefined;
  delayMs: number | undefined;
  env: Record<string, string> = { VAULT_ADDR: "https://a", VAULT_TOKEN: "canary-token" };
  settings: Record<string, unknown> = { namespace: "team" };
  keychain: InMemoryKeychain | undefined;

  constructor(profile = "p", home = mkdtempSync(join(tmpdir(), "mcp-run-cache-"))) {
    this.home = home;
    this.paths = mcpRunPaths({ MCP_RUN_HOME: home }, "linux", home);
    this.file = cacheFile(this.paths.cache, { name: profile, file: `/profiles/${profile}.yaml` });
    onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  }

  get folder(): string {
    return dirname(this.file);
  }

  get warnings(): string[] {
    return this.events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  }

  resolve(changes: Partial<ResolveRequest> = {}, isRemote = true): Promise<Resolution> {
    return resolveSecrets(this.request(changes, isRemote));
  }

  request(changes: Partial<ResolveRequest> = {}, isRemote = true): ResolveRequest {
    const respond = (path: string): FetchedSecret | ProviderError => {
      if (this.trouble) throw this.trouble;
      const content = this.contents[path] ?? new ProviderError("missing", `there is no ${path}`);
      return typeof content === "string" ? { value: new Secret(content), version: "1" } : content;
    };
    const opens = (context: ProviderContext) => {
      for (const name of ["VAULT_ADDR", "VAULT_TOKEN"]) context.env.get(name);
      context.env.place("AWS_ENDPOINT_URL_SECRETS_MANAGER");
    };
    const backend = scriptedBackend({
      name: "vault",
      isRemote,
      respond,
      opens,
      clock: this.clock,
      ...(this.delayMs !== undefined && { delayMs: this.delayMs }),
    });
    this.backends.push(backend);
    const entry: ProviderEntry = { name: "vault", type: "vault", settings: this.settings };
    const { open } = backend;
    const peekVersion = async ({ path }: { path: string }) => {
      if (this.trouble) throw this.trouble;
      return this.versions[path];
    };
    const peeking = {
      ...backend,
      open: async (...args: Parameters<typeof open>) => ({ ...(await open(...args)), peekVersion }),
    };
    return request([], {
      kinds: kindsOf(peeking, localKind),
      secrets: this.secrets,
      providers: new Map([["vault", entry]]),
      context: {
        ...request([]).context,
        clock: this.clock,
        paths: this.paths,
        env: testEnvironment(this.env),
        emit: (event: McpRunEvent) => this.events.push(event),
        keychain: async () => this.keychain,
      },
      cache: { file: this.file, maxAgeMs: DAY },
      ...changes,
    });
  }

  /** A whole run: fetched, started, ended. */
  async start(changes: Partial<ResolveRequest> = {}, isRemote = true): Promise<Started> {
    const resolution = await passUntil(this.clock, this.resolve(changes, isRemote));
    resolution.held.started();
    await ended(this.clock, resolution.held.release());
    return { values: valuesOf(resolution), resolution };
  }

  /** How often the cache was written: each time is another encryption. */
  stamp(): string {
    return readFileSync(this.file).toString("base64");
  }
}

/**
 * Lets time pass until the work has settled; real files are read in between.
 *
 * @param realMs in which `step` passes
 */
async function passUntil<T>(clock: VirtualClock, work: Promise<T>, step = 100, realMs = 1): Promise<T> {
  let isSettled = false;
  const settled = () => {
    isSettled = true;
  };
  work.then(settled, settled);
  while (!isSettled) {
    await new Promise((resolve) => setTimeout(resolve, realMs));
    await clock.advance(step);
  }
  return work;
}

/** The end waits 2 s for what is written: here that is twenty, for a busy disk. */
function ended(clock: VirtualClock, end: Promise<void>): Promise<void> {
  return passUntil(clock, end, 1, 10);
}

/** The same keychain, for somebody whose writes take a while. */
function slowToWrite(keychain: InMemoryKeychain, ms: number): InMemoryKeychain {
  return {
    ...keychain,
    async put(...what) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return keychain.put(...what);
    },
  };
}

const KEPT = { A: "canary-a", B: "canary-b" };

describe("a backend out of reach", () => {
  it("is stood in for by the last good documents, and one warning says which, why and how old", async () => {
    const machine = new Machine();
    await machine.start();
    await machine.clock.advance(3 * HOUR + 10 * 60 * SECOND);
    machine.trouble = refused;

    const { values, resolution } = await machine.start();

    expect(values).toEqual(KEPT);
    expect(machine.events.filter(({ type }) => type === "warning")).toEqual([
      {
        type: "warning",
        message:
          "vault is out of reach (connection refused (ECONNREFUSED)), so the cache gives vault:a, vault:b, fetched 3 h 10 min ago",
        hint: "its address",
      },
    ]);
    const age = machine.clock.now() - (resolution.secrets[0]?.cachedSince?.getTime() ?? 0);
    expect(age).toBeGreaterThanOrEqual(3 * HOUR);
  });

  it("is stood in for in the same place, so that who rotates the secret finds it", async () => {
    const machine = new Machine();
    const place = "https://vault.example.com/v1/secret/data/a";
    machine.contents.a = { value: new Secret("canary-a"), version: "1", place };
    await machine.start();
    machine.trouble = refused;

    const { resolution } = await machine.start();

    expect(resolution.secrets.map((one) => [one.name, one.place])).toEqual([
      ["A", place],
      ["B", undefined],
    ]);
    expect(resolution.secrets.every(({ cachedSince }) => cachedSince)).toBe(true);
  });

  it("may be so for one document alone: the others are fresh", async () => {
    const machine = new Machine();
    await machine.start();
    machine.contents = { a: refused, b: "canary-b2" };

    const { values, resolution } = await machine.start();

    expect(values).toEqual({ A: "canary-a", B: "canary-b2" });
    expect(resolution.secrets.map(({ cachedSince }) => cachedSince !== undefined)).toEqual([true, false]);
    expect(machine.warnings).toEqual([expect.stringContaining("so the cache gives vault:a, fetched")]);
  });

  it("is given four seconds where the cache has everything", async () => {
    const machine = new Machine();
    await machine.start();
    machine.delayMs = Number.POSITIVE_INFINITY;

    const resolving = machine.resolve();
    await expect.poll(() => machine.clock.nextIn).toBe(4 * SECOND);
    await machine.clock.advance(4 * SECOND);

    const resolution = await resolving;
    expect(valuesOf(resolution)).toEqual(KEPT);
    expect(machine.warnings[0]).toContain("vault is out of reach (no answer within 4 s)");
    await ended(machine.clock, resolution.held.release());
  });

  it("is given its whole time where the cache lacks one document", async () => {
    const machine = new Machine();
    await machine.start({ secrets: [secret("A", "vault:a")] });
    machine.delayMs = 9 * SECOND;

    expect((await machine.start()).values).toEqual(KEPT);
    expect(machine.warnings).toEqual([]);
  });

  it("goes on being asked meanwhile, and what it says too late is kept for the next time", async () => {
    const machine = new Machine();
    await machine.start();
    machine.contents = { a: "canary-a2", b: "canary-b2" };
    machine.delayMs = 6 * SECOND;

    const resolution = await passUntil(machine.clock, machine.resolve());
    expect(valuesOf(resolution)).toEqual(KEPT);
    resolution.held.started();
    await machine.clock.advance(3 * SECOND);
    await ended(machine.clock, resolution.held.release());
    machine.delayMs = undefined;
    machine.trouble = refused;

    expect((await machine.start()).values).toEqual({ A: "canary-a2", B: "canary-b2" });
  });

  it("that says no after the cache has stood in for it, is not stood in for the next time", async () => {
    const machine = new Machine();
    await machine.start();
    machine.trouble = new ProviderError("denied", "permission denied (403)");
    machine.delayMs = 6 * SECOND;

    const resolution = await passUntil(machine.clock, machine.resolve());
    expect(valuesOf(resolution)).toEqual(KEPT);
    resolution.held.started();
    await machine.clock.advance(3 * SECOND);
    await ended(machine.clock, resolution.held.release());
    machine.delayMs = undefined;
    machine.trouble = refused;

    expect((await failure(machine.resolve())).code).toBe("backend-unavailable");
  });

  it("is stood in for also where it can't be opened, because its own secret is out of reach", async () => {
    const machine = new Machine();
    await machine.start();
    const broken = { ...scriptedBackend({ name: "vault", isRemote: true, needs: ["kv:id"] }) };
    const kv = scriptedBackend({ name: "kv", failure: "unavailable" });

    const { values } = await machine.start({ kinds: kindsOf(broken, kv, localKind) });

    expect(values).toEqual(KEPT);
  });

  it("is stood in for also after a new login, which says nothing of where the values come from", async () => {
    const machine = new Machine();
    await machine.start();
    machine.trouble = refused;
    machine.env = { ...machine.env, VAULT_TOKEN: "canary-token-2" };

    expect((await machine.start()).values).toEqual(KEPT);
  });

  it("has no stand-in for what it did not have: an optional secret is still absent", async () => {
    const machine = new Machine();
    machine.contents = { a: "canary-a" };
    const secrets = [secret("A", "vault:a"), secret("B", "vault:b", { optional: true })];
    await machine.start({ secrets });
    machine.trouble = refused;

    expect((await machine.start({ secrets })).values).toEqual({ A: "canary-a" });
  });
});

describe("the cache is not used", () => {
  it.each<ProviderFailure>(["denied", "missing", "invalid", "conflict"])(
    "when the answer is «%s»",
    async (kind) => {
      const machine = new Machine();
      await machine.start();
      machine.trouble = new ProviderError(kind, `scripted ${kind}`);

      expect((await failure(machine.start())).details.join()).toContain(`scripted ${kind}`);
      expect(machine.warnings).toEqual([]);
    },
  );

  it("when one document is out of reach and the other is denied: the whole set fails", async () => {
    const machine = new Machine();
    await machine.start();
    machine.contents = { a: refused, b: new ProviderError("denied", "permission denied (403)") };

    expect((await failure(machine.start())).message).toContain("permission denied (403)");
  });

  it("beyond maxAge, counted from when the backend gave it, however often it was served", async () => {
    const machine = new Machine();
    await machine.start();
    machine.trouble = refused;
    await machine.clock.advance(20 * HOUR);
    expect((await machine.start()).values).toEqual(KEPT);

    await machine.clock.advance(4 * HOUR);

    expect((await failure(machine.start())).details.join()).toContain("connection refused");
  });

  it("for a value that has expired", async () => {
    const machine = new Machine();
    const expiresAt = new Date(machine.clock.now() + HOUR);
    machine.contents.a = { value: new Secret("canary-a"), expiresAt };
    await machine.start();
    machine.trouble = refused;
    expect((await machine.start()).values).toEqual(KEPT);

    await machine.clock.advance(HOUR);

    expect((await failure(machine.start())).message).toContain(
      "Cannot read secret A from vault:a: connection refused",
    );
  });

  it("for a value from the future, as after the clock was set back", async () => {
    const machine = new Machine();
    await machine.clock.advance(2 * HOUR);
    await machine.start();
    machine.trouble = refused;
    const earlier = new VirtualClock(machine.clock.now() - 2 * HOUR);

    const starting = machine.resolve({
      context: {
        ...request([]).context,
        paths: machine.paths,
        clock: earlier,
        env: testEnvironment(machine.env),
      },
    });

    expect((await failure(passUntil(earlier, starting))).code).toBe("backend-unavailable");
  });

  it.each<[string, Partial<Pick<Machine, "env" | "settings">>, Partial<ResolveRequest>]>([
    ["other settings", { settings: { namespace: "other" } }, {}],
    ["another place in a variable", { env: { VAULT_ADDR: "https://b", VAULT_TOKEN: "canary-token" } }, {}],
    ["the variable gone", { env: { VAULT_TOKEN: "canary-token" } }, {}],
    [
      "another place in a variable that the program gets too",
      {
        env: {
          VAULT_ADDR: "https://a",
          VAULT_TOKEN: "canary-token",
          AWS_ENDPOINT_URL_SECRETS_MANAGER: "https://b",
        },
      },
      {},
    ],
    ["another path", {}, { secrets: [secret("A", "vault:b2")] }],
  ])("for a profile that has changed: %s", async (_what, change, asks) => {
    const machine = new Machine();
    await machine.start();
    Object.assign(machine, change, { trouble: refused });

    const error = await failure(machine.start(asks));

    expect(error.code).toBe("backend-unavailable");
    expect(machine.warnings).toEqual([]);
  });

  it("without the key `cache`: nothing is kept, nothing served", async () => {
    const machine = new Machine();
    await machine.start({ cache: undefined });
    expect(existsSync(machine.folder)).toBe(false);
    await machine.start();
    machine.trouble = refused;

    await failure(machine.start({ cache: undefined }));

    expect(machine.warnings).toEqual([]);
  });
});

describe("the cache never keeps", () => {
  it("a lease, nor a token of one login", async () => {
    const machine = new Machine();
    const lease: Lease = {
      term: { durationMs: DAY, renewable: true },
      renew: async () => ({ durationMs: DAY, renewable: true }),
      revoke: async () => undefined,
    };
    machine.contents = {
      a: { value: new Secret("canary-a"), lease },
      b: { value: new Secret("canary-b"), isEphemeral: true },
    };
    await machine.start();
    expect(existsSync(machine.file)).toBe(false);
    machine.contents.b = "canary-b";
    await machine.start();
    expect(existsSync(machine.file)).toBe(true);
    machine.trouble = refused;

    expect((await failure(machine.start())).message).toContain("Cannot read secret A from vault:a");
  });

  it("what comes from a store on this machine", async () => {
    const machine = new Machine();

    await machine.start({}, false);

    expect(readdirSync(machine.home)).toEqual([]);
  });

  it("what was fetched for a start that failed", async () => {
    const machine = new Machine();
    machine.contents = { a: "canary-a" };

    await failure(machine.start());

    expect(existsSync(machine.file)).toBe(false);
  });

  it("what the profile no longer names, nor the version before", async () => {
    const machine = new Machine();
    await machine.start();
    machine.contents = { a: "canary-a2" };
    await machine.start({ secrets: [secret("A", "vault:a")] });
    machine.trouble = refused;

    expect((await machine.start({ secrets: [secret("A", "vault:a")] })).values).toEqual({ A: "canary-a2" });
    await failure(machine.start());
  });
});

describe("the file of the cache", () => {
  it("is encrypted, its user's alone, and leaves nothing else but a mark and a key", async () => {
    const machine = new Machine();

    await machine.start();

    expect(readdirSync(machine.folder).sort()).toEqual([
      "key-made.age",
      expect.stringMatching(/^p-[0-9a-f]{12}\.age$/),
      expect.stringMatching(/^p-[0-9a-f]{12}\.age\.mark$/),
    ]);
    const files = readdirSync(machine.home, { recursive: true, encoding: "utf8" })
      .map((name) => join(machine.home, name))
      .filter((file) => statSync(file).isFile());
    for (const file of files) {
      expect(statSync(file).mode & 0o777, file).toBe(0o600);
      expect(readFileSync(file, "latin1"), file).not.toContain("canary");
    }
    expect(statSync(machine.folder).mode & 0o777).toBe(0o700);
    expect(files.map((file) => file.slice(machine.home.length)).sort()).toEqual([
      "/cache/secrets/key-made.age",
      expect.stringMatching(/^\/cache\/secrets\/p-.*\.age$/),
      expect.stringMatching(/^\/cache\/secrets\/p-.*\.age\.mark$/),
      "/config/profile.cache.identity",
      "/state/fingerprint.key",
    ]);
    expect(machine.warnings).toEqual([]);
    expect(machine.events.filter(({ type }) => type === "notice")).toEqual([]);
  });

  it("has its key in the OS keychain where there is one", async () => {
    const machine = new Machine();
    machine.keychain = inMemoryKeychain();

    await machine.start();

    expect([...machine.keychain.items.keys()]).toEqual([
      expect.stringMatching(/^mcp-run\/profile\.cache-identity-/),
    ]);
    expect(existsSync(join(machine.paths.config, "profile.cache.identity"))).toBe(false);
    machine.trouble = refused;
    expect((await machine.start()).values).toEqual(KEPT);
  });

  it("is as good for several profiles that are started for the first time at once", async () => {
    const first = new Machine("p1");
    const machines = [first, new Machine("p2", first.home), new Machine("p3", first.home)];
    const keychain = inMemoryKeychain();
    for (const [index, machine] of machines.entries()) machine.keychain = slowToWrite(keychain, index * 100);
    await Promise.all(machines.map((machine) => machine.start()));
    for (const machine of machines) machine.trouble = refused;

    const values = await Promise.all(machines.map(async (machine) => (await machine.start()).values));

    expect(values).toEqual(machines.map(() => KEPT));
  });

  it("is given up where the program has ended before it is written, and a warning says so", async () => {
    const machine = new Machine();
    machine.keychain = slowToWrite(inMemoryKeychain(), 200);
    const resolution = await passUntil(machine.clock, machine.resolve());
    resolution.held.started();

    await passUntil(machine.clock, resolution.held.release(), 2 * SECOND);

    await until("it is said", () => machine.warnings.length > 0);
    expect(machine.warnings).toEqual([
      "the secrets of this profile could not be kept for a bad day: the program ended before that was done",
    ]);
    expect(existsSync(machine.file)).toBe(false);
  });

  it("is written anew only if something has changed, or a tenth of maxAge is over", async () => {
    const machine = new Machine();
    await machine.start();
    const first = machine.stamp();

    await machine.clock.advance(2 * HOUR);
    await machine.start();
    expect(machine.stamp()).toBe(first);

    await machine.clock.advance(HOUR);
    await machine.start();
    const second = machine.stamp();
    expect(second).not.toBe(first);

    machine.contents.b = "canary-b2";
    await machine.start();
    expect(machine.stamp()).not.toBe(second);
  });

  it("is not written before the program runs", async () => {
    const machine = new Machine();

    const resolution = await machine.resolve();
    await passUntil(machine.clock, resolution.held.release());

    expect(existsSync(machine.folder)).toBe(false);
  });

  it("is not even looked into while every backend answers", async () => {
    const machine = new Machine();
    await machine.start();
    writeFileSync(machine.file, "not a cache at all");

    await machine.start();

    expect(machine.warnings).toEqual([]);
  });

  it.each([
    ["damaged", (machine: Machine) => writeFileSync(machine.file, "not a cache at all")],
    ["without its key", (machine: Machine) => rmSync(join(machine.paths.config, "profile.cache.identity"))],
  ])(
    "that is %s is a warning, the backend's failure stands, and the next good start mends it",
    async (_how, harm) => {
      const machine = new Machine();
      await machine.start();
      harm(machine);
      machine.trouble = refused;

      expect((await failure(machine.start())).details.join()).toContain("connection refused");
      expect(machine.warnings).toEqual([
        expect.stringMatching(/^the secrets that were kept for a bad day can't be read: /),
      ]);

      machine.trouble = undefined;
      machine.contents.a = "canary-a2";
      await machine.start();
      machine.trouble = refused;
      expect((await machine.start()).values).toEqual({ A: "canary-a2", B: "canary-b" });
    },
  );

  it("that can't be written is one warning, and no reason not to start", async () => {
    const machine = new Machine();
    mkdirSync(dirname(machine.folder), { recursive: true });
    // Root may write anywhere, so a file stands where the folder should be.
    writeFileSync(machine.folder, "");

    expect((await machine.start()).values).toEqual(KEPT);

    expect(machine.warnings).toEqual([
      expect.stringMatching(/^the secrets of this profile could not be kept for a bad day: /),
    ]);
  });

  it("stays as it was if its successor can't be written", async () => {
    const machine = new Machine();
    await machine.start();
    const draft = `${machine.file}.${process.pid}.tmp`;
    mkdirSync(draft);
    machine.contents.a = "canary-a2";
    await machine.start();
    expect(machine.warnings).toHaveLength(1);
    machine.trouble = refused;

    expect((await machine.start()).values).toEqual(KEPT);
  });

  it("goes with a rotation, and with the key `cache` of its profile", async () => {
    const machine = new Machine();
    await machine.start();

    expect(forgetCache(machine.file)).toBe(true);
    expect(readdirSync(machine.folder)).toEqual(["key-made.age"]);
    expect(forgetCache(machine.file)).toBe(false);

    await machine.start();
    expect(existsSync(machine.file)).toBe(true);
    await forgetUnwanted(machine.file);
    expect(readdirSync(machine.folder)).toEqual(["key-made.age"]);
    await forgetUnwanted(machine.file);
  });

  it("goes when nothing is left to keep", async () => {
    const machine = new Machine();
    await machine.start();

    machine.contents = { a: { value: new Secret("canary-a"), isEphemeral: true } };
    await machine.start({ secrets: [secret("A", "vault:a")] });

    expect(existsSync(machine.file)).toBe(false);
  });

  it("is another for a profile of the same name in another file", () => {
    const here = cacheFile("/c", { name: "p", file: "/a/mcp-run.yaml" });

    expect(here).toMatch(/^\/c\/secrets\/p-[0-9a-f]{12}\.age$/);
    expect(cacheFile("/c", { name: "p", file: "/b/mcp-run.yaml" })).not.toBe(here);
    expect(cacheFile("/c", { name: "P", file: "/a/mcp-run.yaml" }).toLowerCase()).not.toBe(here);
  });
});

describe("the cache at a refresh", () => {
  const again = async (machine: Machine, inUse: Resolution) => {
    const inUseNow = { ...inUse, ending: new Set<Lease>(), checks: machine.checks };
    return passUntil(machine.clock, machine.resolve({ inUse: inUseNow }));
  };
  const finish = (machine: Machine, { held }: Resolution) => ended(machine.clock, held.release());

  it("stands in for nothing: a cached value is no news", async () => {
    const machine = new Machine();
    const { resolution } = await machine.start();
    const inUse = await passUntil(machine.clock, machine.resolve());
    machine.trouble = refused;

    const error = await failure(again(machine, inUse));

    expect(error.message).toBe("Cannot read 2 secrets, so the old values stay");
    expect(machine.warnings).toEqual([]);
    expect(resolution.held.hasCache).toBe(true);
    await finish(machine, inUse);
    expect((await machine.start()).values).toEqual(KEPT);
  });

  it("keeps what was fetched, and what was not because it has the same version", async () => {
    const machine = new Machine();
    const inUse = await passUntil(machine.clock, machine.resolve());
    machine.contents.b = { value: new Secret("canary-b2"), version: "2" };
    machine.versions = { a: "1", b: "2" };

    const after = await again(machine, inUse);
    after.held.started();
    await Promise.all([finish(machine, inUse), finish(machine, after)]);

    expect(machine.backends.at(-1)?.calls).toEqual([["b"]]);
    machine.trouble = refused;
    expect((await machine.start()).values).toEqual({ A: "canary-a", B: "canary-b2" });
  });

  it("fetches what the cache has stood in for, whatever its version", async () => {
    const machine = new Machine();
    await machine.start();
    machine.trouble = refused;
    const inUse = await passUntil(machine.clock, machine.resolve());
    machine.trouble = undefined;
    machine.versions = { a: "1", b: "1" };

    const after = await again(machine, inUse);

    expect(machine.backends.at(-1)?.calls).toEqual([["a", "b"]]);
    expect(after.secrets.map(({ cachedSince }) => cachedSince)).toEqual([undefined, undefined]);
    await Promise.all([finish(machine, inUse), finish(machine, after)]);
  });

  it("takes the versions as news of what it keeps, so that it does not run out while the server runs", async () => {
    const machine = new Machine();
    const inUse = (await machine.start()).resolution;
    const claim = await passUntil(machine.clock, machine.resolve());
    machine.versions = { a: "1", b: "1" };
    await machine.clock.advance(20 * HOUR);

    const looking = resolveAgain(machine.request(), claim, new Set(), machine.checks);
    expect(await passUntil(machine.clock, looking, 1)).toBeUndefined();
    await finish(machine, claim);
    await machine.clock.advance(20 * HOUR);
    machine.trouble = refused;

    expect(valuesOf(inUse)).toEqual(KEPT);
    expect((await machine.start()).values).toEqual(KEPT);
  });

  it("is kept also if one of two claims has gone before the program runs", async () => {
    const machine = new Machine();
    const { held } = await passUntil(machine.clock, machine.resolve());
    const share = held.share();

    await share.release();
    held.started();
    await ended(machine.clock, held.release());

    expect(existsSync(machine.file)).toBe(true);
  });
});

describe("cache and breaker", () => {
  const guarded = { breaker: "guards" } as const;

  it("agree where the backend is out of reach: it is left alone, and the cache serves at once", async () => {
    const machine = new Machine();
    await machine.start(guarded);
    machine.trouble = refused;
    for (let times = 0; times < 3; times++) await machine.start(guarded);

    const { values } = await machine.start(guarded);

    expect(values).toEqual(KEPT);
    expect(machine.backends.at(-1)?.calls).toEqual([]);
    expect(machine.warnings.at(-1)).toContain("it has failed 3 times in a row and is left alone until");
  });

  it("agree where it has refused us: left alone, and nothing is served", async () => {
    const machine = new Machine();
    await machine.start(guarded);
    machine.trouble = new ProviderError("denied", "permission denied (403)");
    for (let times = 0; times < 3; times++) await failure(machine.start(guarded));

    const error = await failure(machine.start(guarded));

    expect(error.code).toBe("access-denied");
    expect(machine.backends.at(-1)?.calls).toEqual([]);
    expect(machine.warnings).toEqual([]);
  });
});

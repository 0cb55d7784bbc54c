import { describe, expect, it } from "vitest";
import { createMemoryKind, type MemoryBehaviour } from "../../providers/memory.ts";
import { McpRunError, ProviderError } from "../../src/errors.ts";
import type { FetchedSecret, Lease } from "../../src/secrets/provider.ts";
import type { Resolution, ResolveRequest } from "../../src/secrets/resolution.ts";
import { resolveSecrets } from "../../src/secrets/resolve.ts";
import { changedSecrets, resolveAgain, VersionChecks } from "../../src/secrets/resolve-again.ts";
import { Secret } from "../../src/secrets/secret.ts";
import type { SecretSpec } from "../../src/secrets/spec.ts";
import { testContext } from "../helpers/provider-context.ts";
import { type Script, type ScriptedBackend, scriptedBackend } from "../helpers/scripted-backend.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { failure, ref, request, secret, template, valuesOf } from "./requests.ts";

const NONE: ReadonlySet<Lease> = new Set();

/** A server's secrets in the memory store, and what that store is asked after the start. */
class Room {
  readonly clock = new VirtualClock();
  readonly behaviour: MemoryBehaviour = {};
  readonly kind;
  readonly checks = new VersionChecks();
  readonly asked: string[] = [];
  readonly secrets: readonly SecretSpec[];
  /** What an operation on a path fails with. */
  trouble: Readonly<Record<string, ProviderError>> = {};

  constructor(
    values: Readonly<Record<string, string>> = { a: "canary-a1", b: "canary-b1" },
    secrets: readonly SecretSpec[] = Object.keys(values).map((path) => secret(path, `memory:${path}`)),
  ) {
    this.kind = createMemoryKind(values, this.behaviour);
    this.secrets = secrets;
    this.behaviour.failure = (operation, path) => {
      if (operation === "fetch" || operation === "peekVersion") this.asked.push(`${operation} ${path}`);
      return this.trouble[`${operation} ${path}`];
    };
  }

  request(rest: Partial<ResolveRequest> = {}): ResolveRequest {
    const context = { ...request([]).context, clock: this.clock };
    return request([this.kind], { secrets: this.secrets, context, ...rest });
  }

  async start(): Promise<Resolution> {
    const resolution = await resolveSecrets(this.request());
    this.asked.length = 0;
    return resolution;
  }

  again(inUse: Resolution, rest: Partial<ResolveRequest> = {}): Promise<Resolution | undefined> {
    return resolveAgain(this.request(rest), inUse, NONE, this.checks);
  }

  /** What the store was asked since the last look at it. */
  takeAsked(): string[] {
    return this.asked.splice(0).sort();
  }

  async put(path: string, value: string): Promise<void> {
    const store = await this.kind.open({}, testContext());
    await store.put({ path }, new Secret(value), new AbortController().signal);
  }
}

const denied = new ProviderError("denied", "permission denied (403)");
const unavailable = new ProviderError("unavailable", "connection refused");

describe("a look at what has changed", () => {
  it("asks for versions only, and says that nothing has", async () => {
    const room = new Room();
    const inUse = await room.start();

    expect(await room.again(inUse)).toBeUndefined();

    expect(room.takeAsked()).toEqual(["peekVersion a", "peekVersion b"]);
    expect(room.clock.pending).toBe(0);
  });

  it("fetches what has another version, and nothing else", async () => {
    const room = new Room();
    const inUse = await room.start();
    await room.put("b", "canary-b2");

    const after = (await room.again(inUse)) as Resolution;

    expect(room.takeAsked()).toEqual(["fetch b", "peekVersion a", "peekVersion b"]);
    expect(valuesOf(after)).toEqual({ a: "canary-a1", b: "canary-b2" });
    expect(changedSecrets(inUse, after)).toEqual(["b"]);
    expect(await room.again(after)).toBeUndefined();
  });

  it("takes a new version with the old value for what it is", async () => {
    const room = new Room();
    const inUse = await room.start();
    await room.put("b", "canary-b1");

    const after = (await room.again(inUse)) as Resolution;

    expect(changedSecrets(inUse, after)).toEqual([]);
    expect(after.secrets.map(({ version }) => version)).toEqual(["v1", "v2"]);
  });

  it("asks once for a document that several secrets come from", async () => {
    const document = { d: '{"user":"canary-user","pass":"canary-pass"}' };
    const secrets = [secret("U", "memory:d#user"), secret("P", "memory:d#pass")];
    const spread = { ref: ref("memory:d"), prefix: "D_", optional: false };
    const room = new Room(document, [...secrets, template("DSN", "{{U}}:{{P}}")]);
    const inUse = await resolveSecrets(room.request({ secretsFrom: [spread] }));
    room.takeAsked();

    expect(await room.again(inUse, { secretsFrom: [spread] })).toBeUndefined();
    expect(room.takeAsked()).toEqual(["peekVersion d"]);

    await room.put("d", '{"user":"canary-user","pass":"canary-other"}');
    const after = (await room.again(inUse, { secretsFrom: [spread] })) as Resolution;
    expect(room.takeAsked()).toEqual(["fetch d", "peekVersion d"]);
    expect(changedSecrets(inUse, after)).toEqual(["P", "D_pass", "DSN"]);
  });

  it("fetches what has no version, what is a backend's that has no cheap check, and what was absent", async () => {
    const backend = scriptedBackend({ name: "kv", values: { a: "canary-a" } });
    const bare = scriptedBackend({ name: "bare", respond: () => ({ value: new Secret("canary-bare") }) });
    const secrets = [
      secret("A", "kv:a"),
      secret("ABSENT", "kv:absent", { optional: true }),
      secret("BARE", "bare:x"),
    ];
    const inUse = await resolveSecrets(request([backend, bare], { secrets }));

    const after = await resolveAgain(request([backend, bare], { secrets }), inUse, NONE, new VersionChecks());

    expect([...backend.calls, ...bare.calls]).toEqual([["a", "absent"], ["a", "absent"], ["x"], ["x"]]);
    expect(changedSecrets(inUse, after as Resolution)).toEqual([]);
  });

  it("has at most eight checks under way", async () => {
    const paths = Array.from({ length: 30 }, (_, index) => `p${index}`);
    const room = new Room(Object.fromEntries(paths.map((path) => [path, `canary-${path}`])));
    const inUse = await room.start();
    let [underWay, most] = [0, 0];
    const open = room.kind.open;
    const opens = async (...args: Parameters<typeof open>) => {
      const store = await open(...args);
      const peekVersion: typeof store.currentVersion = async (...asked) => {
        most = Math.max(most, ++underWay);
        await Promise.resolve();
        underWay--;
        return store.currentVersion(...asked);
      };
      return { ...store, peekVersion };
    };

    const kinds = { names: ["memory"], load: async () => ({ ...room.kind, open: opens }) as never };
    expect(await room.again(inUse, { kinds })).toBeUndefined();

    expect(most).toBe(8);
  });

  it("fetches where the check is refused, and does not ask for that a second time", async () => {
    const room = new Room();
    const inUse = await room.start();
    room.trouble = { "peekVersion a": denied };

    const after = (await room.again(inUse)) as Resolution;
    expect(changedSecrets(inUse, after)).toEqual([]);
    expect(room.takeAsked()).toEqual(["fetch a", "peekVersion a", "peekVersion b"]);

    await room.again(inUse);
    expect(room.takeAsked()).toEqual(["fetch a", "peekVersion b"]);
  });

  it("asks for no further version where a check gets no answer, until the next time", async () => {
    const room = new Room();
    const inUse = await room.start();
    room.trouble = { "peekVersion a": unavailable };

    const after = (await room.again(inUse)) as Resolution;
    expect(changedSecrets(inUse, after)).toEqual([]);
    expect(room.takeAsked()).toEqual(["fetch a", "fetch b", "peekVersion a"]);

    room.trouble = {};
    expect(await room.again(inUse)).toBeUndefined();
  });
});

describe("a look that fails", () => {
  it("quotes no value in use, also where its backend has not given it again", async () => {
    let quoted = "";
    const opens: NonNullable<Script["opens"]> = ({ quotable }) => {
      quoted = quotable("the key canary-user of canary-a1 is gone", []);
    };
    const document = '{"user":"canary-user","key":"canary-a1"}';
    const secrets = [secret("A", "kv:a#user")];
    const inUse = await resolveSecrets(
      request([scriptedBackend({ name: "kv", values: { a: document } })], { secrets }),
    );
    const broken = scriptedBackend({ name: "kv", opens, failure: "missing" });

    await failure(resolveAgain(request([broken], { secrets }), inUse, NONE, new VersionChecks()));

    expect(quoted).toContain("the key ");
    expect(quoted).not.toContain("canary");
  });

  it("says that the old values stay, and which secrets could not be read", async () => {
    const room = new Room();
    const inUse = await room.start();
    room.trouble = {
      "peekVersion a": unavailable,
      "fetch a": unavailable,
      "peekVersion b": denied,
      "fetch b": denied,
    };

    const error = await failure(room.again(inUse));

    expect(error.message).toBe("Cannot read 2 secrets, so the old values stay");
    expect(error.details.join()).toContain("connection refused");
    room.trouble = {};
    expect(await room.again(inUse)).toBeUndefined();
  });

  it("ends when the time of the backend is over, the checks included", async () => {
    const room = new Room();
    const inUse = await room.start();
    await room.put("a", "canary-a2");
    room.behaviour.delayMs = 6_000;
    const looking = failure(room.again(inUse));

    await room.clock.advance(10_000);

    expect((await looking).details.join()).toContain("no answer within 10 s");
    expect(room.clock.pending).toBe(0);
  });

  it("ends at once when it is aborted", async () => {
    const room = new Room();
    const inUse = await room.start();
    room.behaviour.delayMs = 6_000;
    const abort = new AbortController();
    const looking = failure(room.again(inUse, { signal: abort.signal }));
    await room.clock.advance(1_000);

    abort.abort(new McpRunError("interrupted", "Interrupted by SIGTERM"));

    expect((await looking).code).toBe("interrupted");
    expect(room.clock.pending).toBe(0);
  });

  it("is refused for what was given back: there is nothing to compare with", async () => {
    const room = new Room();
    const inUse = await room.start();
    await inUse.held.release();

    await expect(room.again(inUse)).rejects.toThrow("what was released can't be shared");
    expect(room.takeAsked()).toEqual([]);
  });
});

describe("what has changed", () => {
  it("is what differs, what is new and what has gone, by name", () => {
    const set = (values: Record<string, string>) => ({
      secrets: Object.entries(values).map(([name, value]) => ({ name, value: new Secret(value) })) as never,
    });

    const changed = changedSecrets(
      set({ same: "canary-1", other: "canary-2", longer: "canary-3", gone: "canary-4" }),
      set({ other: "canary-x", new: "canary-5", same: "canary-1", longer: "canary-3-and-more" }),
    );

    expect(changed).toEqual(["other", "new", "longer", "gone"]);
  });
});

const HOUR = 3_600_000;

/** A backend that lends: each fetch of a path mints one more lease, `PATH 1`, `PATH 2`. */
class Lender {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  readonly events: string[] = [];
  readonly endings: Lease[] = [];
  readonly backend: ScriptedBackend;
  readonly names = new Map<Lease, string>();
  readonly secrets = [secret("SHORT", "db:short"), secret("LONG", "db:long"), secret("PLAIN", "db:plain")];
  readonly checks = new VersionChecks();
  readonly #minted = new Map<string, number>();
  #opened = 0;
  isDown = false;
  renewal: Promise<void> | undefined;

  constructor(isRemote = false) {
    const backend = scriptedBackend({ name: "db", isRemote, respond: (path) => this.#respond(path) });
    const open = backend.open;
    this.backend = {
      ...backend,
      open: async (config, context) => {
        const number = ++this.#opened;
        const provider = await open(config, context);
        return { ...provider, close: async () => void this.log.push(`close ${number}`) };
      },
    };
  }

  get request(): ResolveRequest {
    const { clock, secrets, endings } = this;
    const emit: ResolveRequest["context"]["emit"] = (event) => {
      if (event.type === "warning") this.events.push(event.message);
    };
    return request([this.backend], {
      secrets,
      context: { ...request([]).context, clock, emit },
      onLeaseEnding: ({ lease }) => endings.push(lease),
      breaker: "guards",
      cache: { file: "/nonexistent/mcp-run-test/cache.age", maxAgeMs: HOUR },
    });
  }

  start(): Promise<Resolution> {
    return resolveSecrets(this.request);
  }

  async again(inUse: Resolution, ending: readonly Lease[]): Promise<Resolution> {
    const after = await resolveAgain(this.request, inUse, new Set(ending), this.checks);
    expect(after).toBeDefined();
    return after as Resolution;
  }

  leaseOf({ secrets }: Resolution, name: string): Lease {
    return secrets.find((one) => one.name === name)?.lease as Lease;
  }

  leasesOf({ secrets }: Resolution): (string | undefined)[] {
    return secrets.flatMap(({ lease }) => (lease ? [this.names.get(lease)] : []));
  }

  takeLog(): string[] {
    return this.log.splice(0);
  }

  #respond(path: string): FetchedSecret | ProviderError {
    if (this.isDown) return unavailable;
    if (path === "plain") return { value: new Secret("canary-plain") };
    const number = (this.#minted.get(path) ?? 0) + 1;
    this.#minted.set(path, number);
    const name = `${path} ${number}`;
    const term = { durationMs: HOUR, renewable: path === "long" };
    const lease: Lease = {
      term,
      renew: async () => {
        this.log.push(`renew ${name}`);
        await this.renewal;
        return term;
      },
      revoke: async () => void this.log.push(`revoke ${name}`),
    };
    this.names.set(lease, name);
    return { value: new Secret(`canary-${name}`), lease };
  }
}

describe("leases over several servers", () => {
  it("are revoked once each, when the last server that uses them has gone, and so are backends closed", async () => {
    const lender = new Lender();
    const first = await lender.start();
    const servers = [first.held.share()];
    expect(lender.endings).toEqual([lender.leaseOf(first, "SHORT")]);

    const second = await lender.again(first, lender.endings.splice(0));
    servers.push(second.held.share());
    void first.held.release();
    const third = await lender.again(second, lender.endings.splice(0));
    servers.push(third.held.share());
    void second.held.release();

    expect([first, second, third].map((one) => lender.leasesOf(one))).toEqual([
      ["short 1", "long 1"],
      ["short 2", "long 1"],
      ["short 3", "long 1"],
    ]);
    expect(lender.backend.calls).toEqual([
      ["short", "long", "plain"],
      ["short", "plain"],
      ["short", "plain"],
    ]);
    expect(lender.takeLog()).toEqual([]);

    // The second is stopped before the first has drained.
    await servers[1]?.release();
    expect(lender.takeLog()).toEqual(["revoke short 2", "close 2"]);
    await servers[0]?.release();
    expect(lender.takeLog()).toEqual(["revoke short 1"]);
    await lender.clock.advance((HOUR * 2) / 3);
    expect(lender.takeLog()).toEqual(["renew long 1"]);
    await third.held.release();
    expect(lender.takeLog()).toEqual([]);

    await servers[2]?.release();

    const last = lender.takeLog();
    expect(last.slice(0, 2).sort()).toEqual(["revoke long 1", "revoke short 3"]);
    expect(last.slice(2).sort()).toEqual(["close 1", "close 3"]);
    expect(lender.clock.pending).toBe(0);
    expect(lender.events).toEqual([]);
  });

  it("are given up once by a claim that is released twice", async () => {
    const lender = new Lender();
    const { held } = await lender.start();
    const share = held.share();

    await share.release();
    await share.release();
    expect(lender.takeLog()).toEqual([]);
    await held.release();

    expect(lender.takeLog().sort()).toEqual(["close 1", "revoke long 1", "revoke short 1"]);
    expect(() => held.share()).toThrow("what was released can't be shared");
  });

  it("are not asked for again while they live, and their backend is not even opened for them", async () => {
    const lender = new Lender();
    const secrets = lender.secrets.slice(0, 2);
    const leased = { ...lender.request, secrets };
    const inUse = await resolveSecrets(leased);

    expect(await resolveAgain(leased, inUse, NONE, lender.checks)).toBeUndefined();

    expect(lender.backend.calls).toHaveLength(1);
    expect(lender.takeLog()).toEqual([]);
    await inUse.held.release();
    expect(lender.takeLog()).toHaveLength(3);
  });

  it("are left alone by a look that fails, and what that look was lent is given back", async () => {
    const lender = new Lender();
    const inUse = await lender.start();
    const empty = scriptedBackend({ name: "kv", values: { x: "canary-x" } });
    const withKv = (backend: ScriptedBackend): ResolveRequest => ({
      ...lender.request,
      secrets: [...lender.secrets, secret("X", "kv:x")],
      kinds: request([lender.backend, backend]).kinds,
    });
    const broken = scriptedBackend({ name: "kv", failure: "unavailable" });

    const ending = new Set(lender.endings);
    await failure(resolveAgain(withKv(broken), inUse, ending, lender.checks));
    expect(lender.takeLog()).toEqual(["revoke short 2", "close 2"]);

    const after = (await resolveAgain(withKv(empty), inUse, ending, lender.checks)) as Resolution;
    expect(lender.leasesOf(after)).toEqual(["short 3", "long 1"]);
    await after.held.release();
    expect(lender.takeLog()).toEqual(["revoke short 3", "close 3"]);
    await inUse.held.release();
    expect(lender.takeLog().sort()).toEqual(["close 1", "revoke long 1", "revoke short 1"]);
  });

  it("of servers that end during a look are revoked when the look has ended", async () => {
    const lender = new Lender();
    const inUse = await lender.start();
    const abort = new AbortController();
    const silent = scriptedBackend({ name: "kv", delayMs: Number.POSITIVE_INFINITY, clock: lender.clock });
    const looking = failure(
      resolveAgain(
        {
          ...lender.request,
          secrets: [...lender.secrets, secret("X", "kv:x")],
          kinds: request([lender.backend, silent]).kinds,
          signal: abort.signal,
        },
        inUse,
        NONE,
        lender.checks,
      ),
    );
    await lender.clock.advance(1);

    await inUse.held.release();
    expect(lender.takeLog()).toEqual([]);
    abort.abort(new McpRunError("interrupted", "Interrupted by SIGTERM"));
    await lender.clock.advance(2_000);
    await looking;

    expect(lender.takeLog().sort()).toEqual(["close 1", "close 2", "revoke long 1", "revoke short 1"]);
  });

  it("may be released while one is being renewed", async () => {
    const lender = new Lender();
    const { held } = await lender.start();
    lender.renewal = new Promise(() => undefined);
    await lender.clock.advance((HOUR * 2) / 3);
    expect(lender.takeLog()).toEqual(["renew long 1"]);

    await held.release();

    expect(lender.takeLog().sort()).toEqual(["close 1", "revoke long 1", "revoke short 1"]);
    expect(lender.clock.pending).toBe(0);
  });

  it("of a backend's own settings live as long as what they gave access to", async () => {
    const lender = new Lender();
    const vault = scriptedBackend({
      name: "vault",
      needs: ["db:long"],
      respond: () => ({
        value: new Secret("canary-leased"),
        lease: {
          term: { durationMs: 2 * HOUR, renewable: true },
          renew: async () => ({ durationMs: 2 * HOUR, renewable: true }),
          revoke: async () => void lender.log.push("revoke vault"),
        },
      }),
    });
    const borrowing = {
      ...lender.request,
      secrets: [secret("V", "vault:x")],
      kinds: request([lender.backend, vault]).kinds,
    };
    const { held } = await resolveSecrets(borrowing);
    await lender.clock.advance(HOUR);
    expect(lender.takeLog()).toEqual(["renew long 1"]);

    await held.release();

    expect(lender.takeLog()).toEqual(["revoke vault", "revoke long 1", "close 1"]);
  });
});

describe("a thousand looks", () => {
  it("leave nothing behind but what is in use", async () => {
    const lender = new Lender(true);
    let inUse = await lender.start();
    const early: WeakRef<object>[] = [];
    const pending = lender.clock.pending;

    for (let look = 0; look < 1_000; look++) {
      const ending = lender.endings.splice(0);
      const after = await lender.again(inUse, ending);
      // Not of the first, which the frame of this very function may still hold.
      if (look > 0 && look < 5) early.push(new WeakRef(inUse.held), new WeakRef(inUse.documents));
      await inUse.held.release();
      inUse = after;
      expect(lender.clock.pending).toBe(pending);
    }

    expect(lender.leasesOf(inUse)).toEqual(["short 1001", "long 1"]);
    expect(lender.log.filter((line) => line.startsWith("revoke short"))).toHaveLength(1_000);
    expect(lender.log.filter((line) => line.startsWith("close"))).toHaveLength(999);
    await collectGarbage();
    expect(early.filter((one) => one.deref())).toEqual([]);
    await inUse.held.release();
    expect(lender.log.filter((line) => line === "revoke long 1")).toHaveLength(1);
    expect(lender.log).toHaveLength(1_001 + 1 + 1_001);
  });
});

async function collectGarbage(): Promise<void> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  // What a WeakRef was made for in this turn is kept until the next.
  await new Promise(setImmediate);
  (runInNewContext("gc") as () => void)();
}

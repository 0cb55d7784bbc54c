import { describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import type { McpRunEvent } from "../../src/events.ts";
import type { FetchedSecret, Lease } from "../../src/secrets/provider.ts";
import type { ResolveRequest } from "../../src/secrets/resolution.ts";
import { resolveSecrets, tryResolveSecrets } from "../../src/secrets/resolve.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { type Script, type ScriptedBackend, scriptedBackend } from "../helpers/scripted-backend.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";
import { failure, request, secret, template, valuesOf } from "./requests.ts";

const HOUR = 3_600_000;

/** What happened to the leases, and to the backend that gave them, in order. */
interface Lender {
  readonly backend: ScriptedBackend;
  readonly log: string[];
}

function lender(name: string, script: Partial<Script> = {}, durationMs = HOUR): Lender {
  const log: string[] = [];
  const leases = new Map<string, Lease>();
  const respond = (path: string): FetchedSecret => {
    let lease = leases.get(path);
    if (!lease) {
      lease = {
        term: { durationMs, renewable: true },
        async renew() {
          log.push(`renew ${path}`);
          return { durationMs, renewable: true };
        },
        async revoke() {
          log.push(`revoke ${path}`);
        },
      };
      leases.set(path, lease);
    }
    return { value: new Secret('{"user":"canary-user","pass":"canary-pass"}'), lease };
  };
  const backend = scriptedBackend({ name, respond, ...script });
  const open = backend.open;
  return {
    log,
    backend: {
      ...backend,
      async open(config, context) {
        const provider = await open(config, context);
        return { ...provider, close: async () => void log.push("close") };
      },
    },
  };
}

function on(clock: VirtualClock, events: McpRunEvent[] = []): Pick<ResolveRequest, "context"> {
  return { context: { ...request([]).context, clock, emit: (event) => events.push(event) } };
}

const CREDENTIALS = [secret("PGUSER", "db:creds/app#user"), secret("PGPASSWORD", "db:creds/app#pass")];

describe("what is held for a program", () => {
  it("keeps a lease alive, and the backend open, until the program has ended", async () => {
    const clock = new VirtualClock();
    const { backend, log } = lender("db");
    const dsn = template("DSN", "postgres://{{PGUSER}}:{{PGPASSWORD}}@db");

    const { held, secrets } = await resolveSecrets(
      request([backend], { secrets: [...CREDENTIALS, dsn], ...on(clock) }),
    );
    await clock.advance(HOUR);
    expect(log).toEqual(["renew creds/app"]);
    expect(secrets.map(({ name, lease }) => [name, lease !== undefined])).toEqual([
      ["PGUSER", true],
      ["PGPASSWORD", true],
      ["DSN", false],
    ]);

    await held.release();
    await held.release();
    expect(log).toEqual(["renew creds/app", "revoke creds/app", "close"]);
    expect(clock.pending).toBe(0);
  });

  it("is nothing without a lease: the backend is closed in the background, and the start does not wait", async () => {
    const clock = new VirtualClock();
    const backend = scriptedBackend({ name: "kv", values: { a: "canary-a" }, hangsOnClose: true });

    const { held } = await resolveSecrets(
      request([backend], { secrets: [secret("A", "kv:a")], ...on(clock) }),
    );
    await settle();

    expect(backend.closed).toBe(1);
    const released = held.release();
    await clock.advance(2_000);
    await released;
    expect(clock.pending).toBe(0);
  });

  it("names the secrets of a lease that can't be kept", async () => {
    const clock = new VirtualClock();
    const events: McpRunEvent[] = [];
    const lease: Lease = {
      term: { durationMs: HOUR, renewable: false },
      renew: () => Promise.reject(new Error("nobody asks")),
      revoke: async () => undefined,
    };
    const respond = () => ({ value: new Secret('{"user":"canary-u","pass":"canary-p"}'), lease });
    const backend = scriptedBackend({ name: "db", respond });

    await resolveSecrets(request([backend], { secrets: CREDENTIALS, ...on(clock, events) }));

    expect(events).toEqual([
      {
        type: "warning",
        message: expect.stringContaining("the lease of PGUSER, PGPASSWORD from db:creds/app ends at"),
        hint: expect.any(String),
      },
    ]);
  });
});

describe("a lease that is of no use", () => {
  it("is revoked when another secret of the set fails, before the failure is told", async () => {
    const { backend, log } = lender("db");
    const empty = scriptedBackend({ name: "kv" });
    const secrets = [...CREDENTIALS, secret("A", "kv:a")];

    await failure(resolveSecrets(request([backend, empty], { secrets })));

    expect(log).toEqual(["revoke creds/app", "close"]);
  });

  it("is revoked at once by a check", async () => {
    const { backend, log } = lender("db");

    const resolution = await tryResolveSecrets(request([backend], { secrets: CREDENTIALS }));

    expect(valuesOf(resolution)).toEqual({ PGUSER: "canary-user", PGPASSWORD: "canary-pass" });
    expect(log).toEqual(["revoke creds/app", "close"]);
  });

  it("is revoked when the start is interrupted", async () => {
    const clock = new VirtualClock();
    const { backend, log } = lender("db");
    const silent = scriptedBackend({ name: "kv", delayMs: Number.POSITIVE_INFINITY, clock });
    const abort = new AbortController();
    const secrets = [...CREDENTIALS, secret("A", "kv:a")];
    const resolving = failure(
      resolveSecrets(request([backend, silent], { secrets, signal: abort.signal, ...on(clock) })),
    );
    await clock.advance(1);

    abort.abort(new McpRunError("interrupted", "Interrupted by SIGTERM"));
    await clock.advance(2_000);

    expect((await resolving).code).toBe("interrupted");
    expect(log).toEqual(["revoke creds/app", "close"]);
  });

  it("is revoked also when it comes after its backend was given up", async () => {
    const clock = new VirtualClock();
    const slow = lender("db", { delayMs: 11_000, clock });
    const quick = lender("aws");
    const secrets = [...CREDENTIALS, secret("B", "aws:creds/deploy#user")];
    const resolving = failure(
      resolveSecrets(request([slow.backend, quick.backend], { secrets, ...on(clock) })),
    );

    await clock.advance(10_000);
    expect((await resolving).details.join()).toContain("no answer within 10 s");
    expect(quick.log).toEqual(["revoke creds/deploy", "close"]);
    await clock.advance(1_000);

    expect(slow.log).toEqual(["close", "revoke creds/app"]);
  });
});

describe("three backends at once", () => {
  const three = (clock: VirtualClock, delays: readonly number[]) =>
    delays.map((delayMs, index) =>
      scriptedBackend({
        name: `b${index}`,
        values: { x: `canary-${index}` },
        delayMs,
        clock,
        isRemote: true,
      }),
    );
  const oneOfEach = (backends: readonly ScriptedBackend[]) =>
    backends.map(({ name }) => secret(name.toUpperCase(), `${name}:x`));

  it("take as long as the slowest, whatever the order of the refs", async () => {
    for (const delays of [
      [4_000, 900, 2_500],
      [900, 2_500, 4_000],
      [2_500, 4_000, 900],
    ]) {
      const clock = new VirtualClock();
      const backends = three(clock, delays);
      const started = clock.now();
      let took: number | undefined;
      const resolving = resolveSecrets(
        request(backends, { secrets: oneOfEach(backends), ...on(clock) }),
      ).then((resolution) => {
        took = clock.now() - started;
        return resolution;
      });

      await clock.advance(3_999);
      expect(took).toBeUndefined();
      await clock.advance(1);

      expect(took).toBe(4_000);
      expect(valuesOf(await resolving)).toEqual({ B0: "canary-0", B1: "canary-1", B2: "canary-2" });
    }
  });

  it("take as long as the deadline of one that hangs, and the outcome of the others is kept", async () => {
    const clock = new VirtualClock();
    const backends = three(clock, [Number.POSITIVE_INFINITY, 900, 9_999]);
    const started = clock.now();
    const resolving = tryResolveSecrets(
      request(backends, { secrets: oneOfEach(backends), ...on(clock) }),
    ).then((resolution) => ({ resolution, took: clock.now() - started }));

    await clock.advance(10_000);

    const { resolution, took } = await resolving;
    expect(took).toBe(10_000);
    expect(valuesOf(resolution)).toEqual({ B1: "canary-1", B2: "canary-2" });
    expect(resolution.failures.map(({ name, error }) => [name, error.failure, error.reason])).toEqual([
      ["B0", "unavailable", "no answer within 10 s"],
    ]);
  });

  it("have each its own time, also where one opens another: unlocking a keychain is not the vault's delay", async () => {
    const clock = new VirtualClock();
    const keychain = {
      ...scriptedBackend({ name: "keychain", values: { approle: "canary-id" }, delayMs: 40_000, clock }),
      patienceMs: 55_000,
    };
    const vault = scriptedBackend({
      name: "vault",
      needs: ["keychain:approle"],
      values: { x: "canary-x" },
      delayMs: 9_000,
      clock,
    });
    const resolving = resolveSecrets(
      request([keychain, vault], { secrets: [secret("X", "vault:x")], ...on(clock) }),
    );

    await clock.advance(49_000);

    expect(valuesOf(await resolving)).toEqual({ X: "canary-x" });
  });

  it("do not wait for one whose secret zero never comes", async () => {
    const clock = new VirtualClock();
    const silent = scriptedBackend({ name: "kv", delayMs: Number.POSITIVE_INFINITY, clock });
    const vault = scriptedBackend({ name: "vault", needs: ["kv:id"], values: { x: "canary-x" } });
    const resolving = tryResolveSecrets(
      request([silent, vault], { secrets: [secret("X", "vault:x")], ...on(clock) }),
    );

    await clock.advance(12_000);

    expect((await resolving).failures.map(({ error }) => [error.failure, error.reason])).toEqual([
      ["unavailable", "Cannot read kv:id: no answer within 10 s"],
    ]);
  });
});

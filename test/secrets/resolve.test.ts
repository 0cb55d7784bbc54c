import { describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { isSameSecret } from "../../src/secrets/identity.ts";
import { resolveSecrets, tryResolveSecrets } from "../../src/secrets/resolve.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { scriptedBackend } from "../helpers/scripted-backend.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { failure, ref, request, secret, template, valuesOf } from "./requests.ts";

describe("resolveSecrets", () => {
  it("fetches a document once for any number of its fields, and different documents in one call", async () => {
    const backend = scriptedBackend({
      name: "vault",
      values: { "a/b": '{"user":"canary-u","pass":"canary-p"}', c: "canary-c" },
    });

    const resolved = await resolveSecrets(
      request([backend], {
        secrets: [secret("U", "vault:a/b#user"), secret("P", "vault:a/b#pass"), secret("C", "vault:c")],
      }),
    );

    expect(valuesOf(resolved)).toEqual({ U: "canary-u", P: "canary-p", C: "canary-c" });
    expect(backend.calls).toEqual([["a/b", "c"]]);
    await resolved.held.release();
    expect(backend.closed).toBe(1);
  });

  it("asks all backends at once: three of them take as long as the slowest", async () => {
    const clock = new VirtualClock();
    const backends = [3000, 2000, 1000].map((delayMs, index) =>
      scriptedBackend({ name: `b${index}`, values: { x: `canary-${index}` }, delayMs, clock }),
    );
    const started = clock.now();
    const work = resolveSecrets(
      request(backends, {
        secrets: backends.map(({ name }) => secret(name.toUpperCase(), `${name}:x`)),
        context: { ...request([]).context, clock },
      }),
    ).then((resolved) => ({ resolved, took: clock.now() - started }));

    await clock.advance(3000);

    const { resolved, took } = await work;
    expect(took).toBe(3000);
    expect(Object.keys(valuesOf(resolved))).toHaveLength(3);
  });

  it("gives a silent backend its time and then names it, while the other one's answer stands", async () => {
    const clock = new VirtualClock();
    const silent = scriptedBackend({ name: "silent", delayMs: Number.POSITIVE_INFINITY, clock });
    const quick = scriptedBackend({ name: "quick", values: { x: "canary-x" } });
    const work = tryResolveSecrets(
      request([silent, quick], {
        secrets: [secret("A", "silent:x"), secret("B", "quick:x")],
        context: { ...request([]).context, clock },
      }),
    );

    await clock.advance(10_000);

    const { secrets, failures } = await work;
    expect(secrets.map(({ name }) => name)).toEqual(["B"]);
    expect(failures.map(({ name, error }) => [name, error.failure, error.reason])).toEqual([
      ["A", "unavailable", "no answer within 10 s"],
    ]);
  });

  it("ends at once when the signal is aborted, with the signal's own reason", async () => {
    const clock = new VirtualClock();
    const abort = new AbortController();
    const silent = scriptedBackend({ name: "silent", delayMs: Number.POSITIVE_INFINITY, clock });
    const work = resolveSecrets(
      request([silent], {
        secrets: [secret("A", "silent:x")],
        signal: abort.signal,
        context: { ...request([]).context, clock },
      }),
    );
    const reason = new McpRunError("interrupted", "Interrupted by SIGTERM");

    await clock.advance(1);
    abort.abort(reason);

    expect(await failure(work)).toBe(reason);
  });

  it("is not kept waiting by a backend that never closes", async () => {
    const clock = new VirtualClock();
    const backend = scriptedBackend({ name: "vault", values: { x: "canary-x" }, hangsOnClose: true });
    const work = resolveSecrets(
      request([backend], { secrets: [secret("X", "vault:x")], context: { ...request([]).context, clock } }),
    );

    await clock.advance(2000);

    expect(valuesOf(await work)).toEqual({ X: "canary-x" });
  });

  it("refuses the whole set for one missing secret, and names the secret, its ref and the reason", async () => {
    const backend = scriptedBackend({ name: "vault", values: { there: "canary-there" } });

    const error = await failure(
      resolveSecrets(
        request([backend], { secrets: [secret("A", "vault:there"), secret("B", "vault:gone")] }),
      ),
    );

    expect(error.message).toBe("Cannot read secret B from vault:gone: there is no gone");
    expect(error.exitCode).toBe(78);
  });

  it("names every secret that failed; an unavailable backend decides the exit code", async () => {
    const down = scriptedBackend({ name: "down", failure: "unavailable" });
    const denied = scriptedBackend({ name: "denied", failure: "denied" });

    const error = await failure(
      resolveSecrets(request([down, denied], { secrets: [secret("A", "denied:x"), secret("B", "down:x")] })),
    );

    expect(error.message).toBe("Cannot read 2 secrets, so the server was not started");
    expect(error.details).toEqual([
      "Cannot read secret A from denied:x: scripted denied.",
      "Cannot read secret B from down:x: scripted unavailable.",
    ]);
    expect(error.exitCode).toBe(69);
  });

  it.each([
    ["missing", 78],
    ["denied", 77],
    ["unavailable", 69],
    ["invalid", 78],
  ] as const)("ends with the exit code that belongs to %s", async (kind, exitCode) => {
    const backend = scriptedBackend({ name: "vault", failure: kind });

    const error = await failure(resolveSecrets(request([backend], { secrets: [secret("A", "vault:x")] })));

    expect(error.exitCode).toBe(exitCode);
  });

  it("leaves a missing or empty optional secret absent, but not one whose backend is down", async () => {
    const backend = scriptedBackend({ name: "vault", values: { empty: "" } });
    const down = scriptedBackend({ name: "down", failure: "unavailable" });
    const optional = { optional: true };

    const { secrets, failures } = await tryResolveSecrets(
      request([backend, down], {
        secrets: [
          secret("A", "vault:gone", optional),
          secret("B", "vault:empty", optional),
          secret("C", "down:x", optional),
        ],
      }),
    );

    expect(secrets).toEqual([]);
    expect(failures.map(({ name }) => name)).toEqual(["C"]);
  });

  it("refuses a required secret that is empty", async () => {
    const backend = scriptedBackend({ name: "vault", values: { empty: "" } });

    const error = await failure(
      resolveSecrets(request([backend], { secrets: [secret("A", "vault:empty")] })),
    );

    expect(error.message).toBe("Cannot read secret A from vault:empty: the value is empty");
  });

  it("lists the field names, never the values, when a field is missing", async () => {
    const backend = scriptedBackend({
      name: "vault",
      values: { doc: '{"user":"canary-u","pass":"canary-p"}' },
    });

    const error = await failure(
      resolveSecrets(request([backend], { secrets: [secret("A", "vault:doc#token")] })),
    );

    expect(error.message).toBe(
      'Cannot read secret A from vault:doc#token: there is no field "token" (it has "user", "pass")',
    );
    expect(JSON.stringify(error) + error.stack).not.toContain("canary-");
  });

  it("says that a provider is not set up", async () => {
    const error = await failure(resolveSecrets(request([], { secrets: [secret("A", "vautl:x")] })));

    expect(error.message).toContain("no provider of this name is set up");
    expect(error.exitCode).toBe(78);
  });
});

describe("where a secret lies", () => {
  const place = "https://vault.example.com/v1/secret/data/app";
  const backend = () =>
    scriptedBackend({
      name: "vault",
      respond: () => ({ value: new Secret('{"A":"canary-a","b":{"C":"canary-c"}}'), version: "1", place }),
    });

  it("is said of each that comes from a document, and of none that is made of others", async () => {
    const { secrets } = await resolveSecrets(
      request([backend()], {
        secrets: [secret("A", "vault:app#A"), template("T", "x{{A}}x")],
        secretsFrom: [{ ref: ref("vault:app"), prefix: "ALL_", only: ["A"], optional: false }],
      }),
    );

    expect(secrets.map((one) => [one.name, one.place])).toEqual([
      ["A", place],
      ["ALL_A", place],
      ["T", undefined],
    ]);
  });

  it("is known with the field, also of a field within a field of secretsFrom", async () => {
    const { secrets } = await resolveSecrets(
      request([backend()], {
        secretsFrom: [{ ref: ref("vault:app#b"), prefix: "", optional: false }],
      }),
    );

    expect(secrets.map(({ from }) => from)).toEqual(["vault:app#b.C"]);
    expect(isSameSecret(secrets[0]!, { from: "prod-vault:app#b.C", place })).toBe(true);
  });
});

describe("secretsFrom", () => {
  const document = scriptedBackend({
    name: "aws",
    values: { app: '{"A":"canary-a","B":2,"C":{"d":true},"E":""}' },
  });

  it("spreads every field of a document under a prefix; numbers and objects as JSON writes them", async () => {
    const resolved = await resolveSecrets(
      request([document], { secretsFrom: [{ ref: ref("aws:app"), prefix: "APP_", optional: false }] }),
    );

    expect(valuesOf(resolved)).toEqual({ APP_A: "canary-a", APP_B: "2", APP_C: '{"d":true}' });
  });

  it("takes only the named fields, and an entry under secrets wins", async () => {
    const resolved = await resolveSecrets(
      request([document], {
        secrets: [secret("A", "aws:app#B")],
        secretsFrom: [{ ref: ref("aws:app"), prefix: "", only: ["A", "B"], optional: false }],
      }),
    );

    expect(valuesOf(resolved)).toEqual({ A: "2", B: "2" });
  });

  it("refuses a field that is not there and one that can't be a variable", async () => {
    const { failures } = await tryResolveSecrets(
      request([scriptedBackend({ name: "aws", values: { app: '{"a-b":"canary-x"}' } })], {
        secretsFrom: [
          { ref: ref("aws:app"), prefix: "", only: ["gone"], optional: false },
          { ref: ref("aws:app"), prefix: "", optional: false },
        ],
      }),
    );

    expect(failures.map(({ name, error }) => [name, error.reason])).toEqual([
      ["gone", 'there is no field "gone" (it has "a-b")'],
      ["a-b", '"a-b" can\'t be the name of a variable'],
    ]);
  });
});

describe("a field of secretsFrom without a value", () => {
  const document = scriptedBackend({ name: "aws", values: { app: '{"A":"canary-a","E":"","N":null}' } });
  const from = { ref: ref("aws:app"), prefix: "" };

  it("is left out where nobody named it", async () => {
    const resolved = await resolveSecrets(
      request([document], { secretsFrom: [{ ...from, prefix: "APP_", optional: false }] }),
    );

    expect(valuesOf(resolved)).toEqual({ APP_A: "canary-a" });
  });

  it("is refused where `only` names it, so that the server never starts without it", async () => {
    const { failures } = await tryResolveSecrets(
      request([document], {
        secretsFrom: [{ ...from, only: ["A", "E", "N", "gone"], optional: false }],
      }),
    );

    expect(failures.map(({ name, error }) => [name, error.reason])).toEqual([
      ["E", "the value is empty"],
      ["N", 'field "N" is null'],
      ["gone", 'there is no field "gone" (it has "A", "E", "N")'],
    ]);
  });

  it("is left out where `only` names it and the entry is optional", async () => {
    const resolved = await resolveSecrets(
      request([document], { secretsFrom: [{ ...from, only: ["A", "E", "N", "gone"], optional: true }] }),
    );

    expect(valuesOf(resolved)).toEqual({ A: "canary-a" });
  });
});

describe("two documents with a field of one name", () => {
  it("are refused, since nobody could say which of them wins", async () => {
    const backend = scriptedBackend({
      name: "aws",
      values: { a: '{"X":"canary-1"}', b: '{"X":"canary-2"}' },
    });
    const entry = (text: string) => ({ ref: ref(text), prefix: "", optional: false });

    const error = await failure(
      resolveSecrets(request([backend], { secretsFrom: [entry("aws:a"), entry("aws:b")] })),
    );

    expect(error.message).toBe("Cannot read secret X from aws:b#X: aws:a#X gives the same name");
  });
});

describe("templates", () => {
  const backend = scriptedBackend({ name: "vault", values: { pw: "p@ss w/rd" } });

  it("fills in other secrets through filters, also those of another template", async () => {
    const resolved = await resolveSecrets(
      request([backend], {
        secrets: [
          template("URL", "postgres://app:{{PW|uri}}@db/app"),
          template("OUTER", "<{{URL}}> {{PW|base64}}"),
          secret("PW", "vault:pw", { deliver: "none" }),
        ],
      }),
    );

    const url = "postgres://app:p%40ss%20w%2Frd@db/app";
    expect(valuesOf(resolved)).toEqual({ PW: "p@ss w/rd", URL: url, OUTER: `<${url}> cEBzcyB3L3Jk` });
  });

  it("reports templates that need each other in a circle, once for each name", async () => {
    const { failures } = await tryResolveSecrets(
      request([], { secrets: [template("A", "{{B}}"), template("B", "{{A}}")] }),
    );

    expect(failures.map(({ error }) => error.reason)).toContain(
      "its templates need each other in a circle: A -> B -> A",
    );
    expect(new Set(failures.map(({ name }) => name)).size).toBe(failures.length);
  });

  it("leaves an optional template absent when what it needs is absent, and refuses a required one", async () => {
    const absent = secret("GONE", "vault:gone", { optional: true });
    const { secrets, failures } = await tryResolveSecrets(
      request([backend], {
        secrets: [absent, template("MAYBE", "x{{GONE}}", { optional: true }), template("MUST", "x{{GONE}}")],
      }),
    );

    expect(secrets).toEqual([]);
    expect(failures.map(({ name, error }) => [name, error.reason])).toEqual([
      ["MUST", "it needs GONE, which is absent"],
    ]);
  });
});

describe("secret zero", () => {
  it("opens a backend with a secret out of another one, and hands its value over for scrubbing", async () => {
    let given = "";
    const keychain = scriptedBackend({ name: "keychain", values: { approle: "canary-zero" } });
    const vault = scriptedBackend({
      name: "vault",
      values: { x: "canary-x" },
      needs: ["keychain:approle"],
      opensWith: ([zero]) => {
        given = zero?.reveal() ?? "";
      },
    });

    const resolved = await resolveSecrets(request([keychain, vault], { secrets: [secret("X", "vault:x")] }));

    expect(given).toBe("canary-zero");
    expect(resolved.secretZero.map(({ value }) => value.reveal())).toEqual(["canary-zero"]);
  });

  it("reports backends that need each other in a circle instead of waiting for ever", async () => {
    const a = scriptedBackend({ name: "a", needs: ["b:x"] });
    const b = scriptedBackend({ name: "b", needs: ["a:x"] });

    const error = await failure(
      resolveSecrets(request([a, b], { secrets: [secret("A", "a:x"), secret("B", "b:x")] })),
    );

    expect([error.message, ...error.details].join(" ")).toMatch(
      /need each other in a circle: (a -> b -> a|b -> a -> b)/,
    );
  });

  it("does not repeat a setting that is no ref: it may be the secret itself", async () => {
    const vault = scriptedBackend({ name: "vault", needs: ["canary-passphrase"] });

    const error = await failure(resolveSecrets(request([vault], { secrets: [secret("X", "vault:x")] })));

    expect(error.message).toContain("one of its settings is not a ref");
    expect(JSON.stringify(error) + error.message + error.stack).not.toContain("canary-");
  });

  it("says which ref of the settings could not be read", async () => {
    const keychain = scriptedBackend({ name: "keychain" });
    const vault = scriptedBackend({ name: "vault", needs: ["keychain:approle"] });

    const error = await failure(
      resolveSecrets(request([keychain, vault], { secrets: [secret("X", "vault:x")] })),
    );

    expect(error.message).toBe(
      "Cannot read secret X from vault:x: Cannot read keychain:approle: there is no approle",
    );
  });
});

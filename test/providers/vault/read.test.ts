import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { placeIn } from "../../../providers/vault/address.ts";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import type { ProviderError } from "../../../src/errors.ts";
import type { FetchedSecret } from "../../../src/secrets/provider.ts";
import { FakeVault } from "../../helpers/fake-vault.ts";
import { never, printed, read, revealed, settled } from "../contract.ts";
import { openWithToken, ref } from "./harness.ts";

let server: FakeVault;
let provider: VaultProvider;

beforeEach(async () => {
  server = await FakeVault.start();
  ({ provider } = await openWithToken(server.url, "canary-root"));
});
afterEach(async () => {
  await provider.close();
  await server.stop();
});

const answerTo = (prefix: string, status: number, errors: readonly string[] = []) => {
  server.before = ({ path }) => (path.startsWith(prefix) ? { status, body: { errors } } : undefined);
};

describe("where a secret lies", () => {
  const at = (url: string, namespace?: string) =>
    placeIn({ url, namespace, ca: undefined }, "kv/data/a").place;

  it("is the path that the API has for it, in each kind of engine, and nothing of its version or lease", async () => {
    server.kv2.put("mcp/a b#c", { value: "canary-1" });
    server.kv2.put("mcp/a b#c", { value: "canary-2" });
    server.kv1.set("mcp/key", { value: "canary-3" });

    expect(await place("secret/mcp/a b#c")).toBe(`${server.url}/v1/secret/data/mcp/a%20b%23c`);
    expect(await place("secret/mcp/a b#c", "1")).toBe(`${server.url}/v1/secret/data/mcp/a%20b%23c`);
    expect(await place("kv1/mcp/key")).toBe(`${server.url}/v1/kv1/mcp/key`);
    expect(await place("database/creds/app")).toBe(`${server.url}/v1/database/creds/app`);
  });

  it("is the same for a token that may not ask where mounts end", async () => {
    answerTo("sys/internal/ui/mounts", 403, ["preflight capability check returned 403"]);
    server.kv2.put("mcp/key", { value: "canary-1" });
    server.kv1.set("mcp/key", { value: "canary-2" });

    expect(await place("secret/mcp/key")).toBe(`${server.url}/v1/secret/data/mcp/key`);
    expect(await place("kv1/mcp/key")).toBe(`${server.url}/v1/kv1/mcp/key`);
  });

  it.each([
    ["https://vault.example.com", "https://vault.example.com/v1/kv/data/a"],
    ["https://Vault.Example.COM:443", "https://vault.example.com/v1/kv/data/a"],
    ["https://vault.example.com:8200//", "https://vault.example.com:8200/v1/kv/data/a"],
    ["https://example.com/vault", "https://example.com/vault/v1/kv/data/a"],
  ])("is below one form of the address: %s", (url, expected) => {
    expect(at(url)).toBe(expected);
  });

  it("is in its namespace, where two teams may have the same path", () => {
    expect(at("https://v.example.com", "team a/sub")).toBe("https://v.example.com/v1/team%20a/sub/kv/data/a");
    expect(at("https://v.example.com")).toBe("https://v.example.com/v1/kv/data/a");
  });

  it("is not said where it would fill a screen", () => {
    expect(at(`https://v.example.com/${"a".repeat(900)}`)).toBeDefined();
    expect(at(`https://v.example.com/${"a".repeat(1000)}`)).toBeUndefined();
  });

  async function place(path: string, version?: string): Promise<string | undefined> {
    const answer = await read(provider, ref(path, version));
    return "place" in answer ? answer.place : revealed(answer);
  }
});

describe("how often the server is asked", () => {
  it("is one read for each path, and one look-up for each mount", async () => {
    const fields = Array.from({ length: 50 }, (_, index) => index);
    for (const index of fields.slice(0, 10)) server.kv2.put(`mcp/doc-${index}`, { value: `canary-${index}` });
    // What the resolver makes of 50 refs with a #key each: it hands over each document once, or here five times.
    const asked = fields.map((index) => ref(`secret/mcp/doc-${index % 10}`));

    const answer = await provider.fetch(asked, never());

    expect(answer.size).toBe(50);
    expect(server.asked("secret/")).toHaveLength(10);
    expect(server.asked("sys/internal/ui/mounts/")).toHaveLength(1);
    expect(server.requests).toHaveLength(11);
  });

  it("is no look-up at all the second time", async () => {
    server.kv2.put("mcp/key", { value: "canary-1" });
    await provider.fetch([ref("secret/mcp/key")], never());
    server.requests.length = 0;

    await provider.fetch([ref("secret/mcp/key"), ref("secret/mcp/other")], never());

    expect(server.asked().sort()).toEqual(["GET secret/data/mcp/key", "GET secret/data/mcp/other"]);
  });

  it("is at most ten at the same time", async () => {
    let [now, most] = [0, 0];
    const answers: (() => void)[] = [];
    for (let index = 0; index < 40; index++) server.kv2.put(`mcp/doc-${index}`, { value: "canary" });
    await provider.fetch([ref("secret/mcp/doc-0")], never());
    server.delay = async ({ path }) => {
      if (!path.startsWith("secret/")) return;
      most = Math.max(most, ++now);
      await new Promise<void>((resolve) => {
        answers.push(resolve);
        if (answers.length >= 10) for (const answer of answers.splice(0)) answer();
      });
      now--;
    };

    await provider.fetch(
      Array.from({ length: 40 }, (_, index) => ref(`secret/mcp/doc-${index}`)),
      never(),
    );

    expect(most).toBe(10);
  });

  it("is not once more for each path when nobody answers any more", async () => {
    await provider.fetch([ref("secret/mcp/doc")], never());
    server.requests.length = 0;
    server.cut = true;

    const asked = Array.from({ length: 100 }, (_, index) => ref(`secret/mcp/doc-${index}`));
    const answer = await provider.fetch(asked, never());

    for (const one of asked) expect(answer.get(one)).toMatchObject({ failure: "unavailable" });
    expect(server.requests.length).toBeLessThanOrEqual(40);
  });
});

describe("KV version 2", () => {
  it("gives the data as JSON text, with version and date", async () => {
    server.kv2.put("mcp/key", { token: "canary", nested: { a: 1, b: [true, null] } });

    const found = await read(provider, ref("secret/mcp/key"));

    expect(revealed(found)).toBe('{"token":"canary","nested":{"a":1,"b":[true,null]}}');
    expect(found).toMatchObject({ version: "1", createdAt: expect.any(Date) });
    expect(found).not.toHaveProperty("lease");
    expect(found).not.toHaveProperty("expiresAt");
  });

  it("gives an earlier version beside the current one", async () => {
    server.kv2.put("mcp/key", { value: "canary-1" });
    server.kv2.put("mcp/key", { value: "canary-2" });
    const asked = [ref("secret/mcp/key", "1"), ref("secret/mcp/key")] as const;

    const answer = await provider.fetch(asked, never());

    expect(asked.map((one) => revealed(answer.get(one)))).toEqual([
      '{"value":"canary-1"}',
      '{"value":"canary-2"}',
    ]);
    expect(await provider.currentVersion(asked[0], never())).toBe("1");
    expect(await provider.currentVersion(asked[1], never())).toBe("2");
  });

  it("says when the server will delete it by itself", async () => {
    server.kv2.put("mcp/key", { value: "canary" }, "2099-01-02T03:04:05Z");

    expect(await read(provider, ref("secret/mcp/key"))).toMatchObject({
      expiresAt: new Date("2099-01-02T03:04:05Z"),
    });
    expect(await provider.currentVersion(ref("secret/mcp/key"), never())).toBe("1");
  });

  it("says of a deleted version that it was deleted, and how to get it back", async () => {
    server.kv2.put("mcp/key", { value: "canary" });
    server.kv2.delete("mcp/key");

    expect(await read(provider, ref("secret/mcp/key"))).toMatchObject({
      failure: "missing",
      reason: expect.stringMatching(/^version 1 of it was deleted at \d{4}-.*Z \(404\)$/),
      hint: expect.stringContaining("vault kv undelete -mount=secret -versions=1 mcp/key"),
    });
    expect(await provider.currentVersion(ref("secret/mcp/key"), never())).toBeUndefined();
  });

  it("says of a destroyed version that it is gone for good", async () => {
    server.kv2.put("mcp/key", { value: "canary" });
    server.kv2.put("mcp/key", { value: "canary" });
    await provider.retire(ref("secret/mcp/key"), "1", never());

    expect(await read(provider, ref("secret/mcp/key", "1"))).toMatchObject({
      failure: "missing",
      reason: "version 1 of it was destroyed for good (404)",
    });
    expect(await provider.currentVersion(ref("secret/mcp/key", "1"), never())).toBeUndefined();
  });

  it("names the versions that there are", async () => {
    server.kv2.put("mcp/key", { value: "canary" });
    server.kv2.put("mcp/key", { value: "canary" });

    expect(await read(provider, ref("secret/mcp/key", "7"))).toMatchObject({
      failure: "missing",
      reason: "there is no version 7 of it (404)",
      hint: "one of the versions 1, 2",
    });
  });

  it("says what is wrong with a path of the API", async () => {
    expect(await read(provider, ref("secret/data/mcp/key"))).toMatchObject({
      failure: "missing",
      hint: expect.stringContaining("vault:secret/mcp/key"),
    });
  });

  it("is checked for change by reading where a policy hides the metadata", async () => {
    server.kv2.put("mcp/key", { value: "canary" });
    answerTo("secret/metadata/", 403, ["permission denied"]);

    expect(await provider.currentVersion(ref("secret/mcp/key"), never())).toBe("1");
    server.requests.length = 0;
    expect(await settled(provider.peekVersion(ref("secret/mcp/key"), never()))).toMatchObject({
      failure: "denied",
    });
    expect(server.asked("secret/")).toEqual(["GET secret/metadata/mcp/key"]);
  });

  it("is another one if it was deleted with all its versions and written anew, though both are version 1", async () => {
    server.kv2.put("mcp/key", { value: "canary-leaked" });
    const key = ref("secret/mcp/key");
    const before = (await provider.fetch([key], never())).get(key) as FetchedSecret;
    expect(await provider.peekVersion(key, never(), before)).toBe("1");
    server.kv2.forget("mcp/key");
    server.kv2.put("mcp/key", { value: "canary-new" }, "", "2027-01-01T00:00:00Z");

    expect(await provider.peekVersion(key, never(), before)).toBeUndefined();
  });

  it("is peeked at by a read of its metadata alone", async () => {
    const refs = Array.from({ length: 5 }, (_, index) => ref(`secret/mcp/doc-${index}`));
    for (const { path } of refs) server.kv2.put(path.slice("secret/".length), { value: "canary" });

    const versions: unknown[] = [];
    for (const one of refs) versions.push(await provider.peekVersion(one, never()));

    expect(versions).toEqual(["1", "1", "1", "1", "1"]);
    expect(server.asked("secret/data/")).toEqual([]);
    expect(server.asked("secret/metadata/")).toHaveLength(5);
    expect(server.asked("sys/internal/ui/mounts/")).toHaveLength(1);
  });
});

describe("other engines", () => {
  it("KV version 1 gives the data as JSON text, and has no versions", async () => {
    server.kv1.set("mcp/key", { value: "canary" });

    const found = await read(provider, ref("kv1/mcp/key"));

    expect(revealed(found)).toBe('{"value":"canary"}');
    expect(found).not.toHaveProperty("version");
    expect(await provider.currentVersion(ref("kv1/mcp/key"), never())).toBeUndefined();
    expect(await read(provider, ref("kv1/mcp/key", "1"))).toMatchObject({
      failure: "invalid",
      reason: "kv1/ is KV version 1, which has no versions",
    });
    expect(await read(provider, ref("kv1/absent"))).toMatchObject({ failure: "missing" });
  });

  it("a value without a lease is plain data", async () => {
    const found = await read(provider, ref("cubbyhole/note"));

    expect(revealed(found)).toBe('{"note":"canary-note"}');
    expect(found).not.toHaveProperty("lease");
  });

  it("a role that there is not is missing", async () => {
    expect(await read(provider, ref("database/creds/absent"))).toMatchObject({
      failure: "missing",
      reason: "the engine at database/ has no creds/absent (400)",
    });
  });

  it("have no versions, and no account is made to find that out", async () => {
    expect(await read(provider, ref("database/creds/app", "1"))).toMatchObject({ failure: "invalid" });
    expect(server.leases.size).toBe(0);
  });

  it.each([
    [405, ["1 error occurred:\n\t* unsupported operation\n\n"], "can't be read that way (405)"],
    [204, undefined, "answers without a value (204)"],
  ])("that have nothing to read say so: %d", async (status, errors, words) => {
    server.before = ({ path }) =>
      path.startsWith("database/") ? { status, ...(errors && { body: { errors } }) } : undefined;

    expect(await read(provider, ref("database/issue/web"))).toMatchObject({
      failure: "invalid",
      reason: expect.stringContaining(words),
    });
  });

  it("are never asked twice for one account", async () => {
    answerTo("database/creds/", 500);

    expect(await read(provider, ref("database/creds/app"))).toMatchObject({ failure: "unavailable" });

    expect(server.asked("database/")).toHaveLength(1);
  });

  it("a whole mount is no secret", async () => {
    server.before = ({ path }) =>
      path.startsWith("sys/internal")
        ? { status: 200, body: { data: { path: "team/kv/", type: "kv", options: { version: "2" } } } }
        : undefined;

    expect(await read(provider, ref("team/kv"))).toMatchObject({
      failure: "missing",
      reason: "team/kv is a whole secrets engine, no secret",
    });
  });
});

describe("where the server does not say what a mount is", () => {
  beforeEach(() => {
    answerTo("sys/internal/", 403, ["permission denied"]);
  });

  it("KV version 2 is found by reading, and not looked for again", async () => {
    server.kv2.put("mcp/a", { value: "canary-a" });
    server.kv2.put("mcp/b", { value: "canary-b" });

    expect(revealed(await read(provider, ref("secret/mcp/a")))).toBe('{"value":"canary-a"}');
    server.requests.length = 0;
    expect(revealed(await read(provider, ref("secret/mcp/b")))).toBe('{"value":"canary-b"}');

    expect(server.asked()).toEqual(["GET secret/data/mcp/b"]);
  });

  it("KV version 1 and other engines are found by reading", async () => {
    server.kv1.set("mcp/key", { value: "canary" });

    expect(revealed(await read(provider, ref("kv1/mcp/key")))).toBe('{"value":"canary"}');
    expect(await read(provider, ref("database/creds/app"))).toHaveProperty("lease");
  });

  it("a mount that is not there is missing", async () => {
    expect(await read(provider, ref("nowhere/mcp/key"))).toMatchObject({
      failure: "missing",
      reason: expect.stringContaining("no secrets engine is mounted"),
    });
  });

  it("nothing is written", async () => {
    server.kv2.put("mcp/key", { value: "canary-old" });

    const refusal = await settled(provider.remove(ref("secret/mcp/key"), never()));

    expect(refusal).toMatchObject({ failure: "denied", reason: expect.stringContaining("(403)") });
  });
});

describe("a refusal", () => {
  it.each([
    [503, ["Vault is sealed"], "unavailable", "is sealed (503)", "unseal"],
    [
      503,
      ["server is not yet initialized, not initialized"],
      "unavailable",
      "never initialized (503)",
      "init",
    ],
    [473, [], "unavailable", "is a standby (473)", "active node"],
    [
      400,
      ["path disabled in replication DR secondary mode"],
      "unavailable",
      "is a standby (400)",
      "active node",
    ],
    [404, ["namespace not found"], "invalid", "there is no such namespace (404)", "namespace:"],
    [400, ["Upgrading from non-versioned to versioned data."], "unavailable", "is being upgraded", "again"],
    [400, ["canary-unknown"], "invalid", "the request was refused (400)", "vault read secret/data/mcp/key"],
    [500, ["canary-unknown"], "unavailable", "failed (500)", "server's log"],
    [
      403,
      ["permission denied"],
      "denied",
      "permission denied (403) to read secret/data/mcp/key",
      "capabilities",
    ],
  ] as const)("with status %d and %j has words of its own", async (status, errors, failure, reason, hint) => {
    answerTo("secret/", status, errors);

    const answer = (await read(provider, ref("secret/mcp/key"))) as ProviderError;

    expect(answer).toMatchObject({
      failure,
      reason: expect.stringContaining(reason),
      hint: expect.stringContaining(hint),
    });
    expect(printed(answer)).not.toContain("canary");
  });

  it("of a text in another form than Vault's says so", async () => {
    server.before = ({ path }) =>
      path.startsWith("secret/")
        ? { status: 400, body: "Client sent an HTTP request to an HTTPS server. canary" }
        : undefined;

    const answer = await read(provider, ref("secret/mcp/key"));

    expect(answer).toMatchObject({
      failure: "invalid",
      reason: expect.stringContaining("does not answer as Vault does (400, text/html)"),
    });
    expect(printed(answer)).not.toContain("canary");
  });

  it("of the namespace comes before all that could be said of the path", async () => {
    answerTo("", 404, ["namespace not found"]);

    expect(await read(provider, ref("secret/mcp/key"))).toMatchObject({
      failure: "invalid",
      reason: "there is no such namespace (404)",
    });
  });

  it("of one mount leaves the others alone, and is not asked for again by each path", async () => {
    server.kv1.set("good", { value: "canary" });
    answerTo("sys/internal/ui/mounts/secret/", 501);
    const asked = [ref("secret/a"), ref("secret/b"), ref("secret/c"), ref("kv1/good")] as const;

    const answer = await provider.fetch(asked, never());

    for (const one of asked.slice(0, 3)) expect(answer.get(one)).toMatchObject({ failure: "unavailable" });
    expect(revealed(answer.get(asked[3]))).toBe('{"value":"canary"}');
    expect(server.asked("sys/internal/ui/mounts/secret/")).toHaveLength(1);
  });

  it("of what is nested deeper than can be written again is no bug", async () => {
    const depth = 200_000;
    server.before = ({ path }) =>
      path.startsWith("kv1/")
        ? {
            status: 200,
            body: `{"data":{"value":${"[".repeat(depth)}${"]".repeat(depth)}}}`,
            headers: { "content-type": "application/json" },
          }
        : undefined;

    expect(await read(provider, ref("kv1/deep"))).toMatchObject({ failure: "invalid" });
  });

  it("of one path leaves the others alone", async () => {
    server.kv2.put("mcp/good", { value: "canary" });
    answerTo("secret/data/mcp/bad", 403, ["permission denied"]);
    const asked = [ref("secret/mcp/bad"), ref("secret/mcp/good"), ref("secret/mcp/absent")] as const;

    const answer = await provider.fetch(asked, never());

    expect(answer.get(asked[0])).toMatchObject({ failure: "denied" });
    expect(revealed(answer.get(asked[1]))).toBe('{"value":"canary"}');
    expect(answer.get(asked[2])).toMatchObject({
      failure: "missing",
      reason: "there is no secret mcp/absent in secret/ (404)",
    });
  });
});

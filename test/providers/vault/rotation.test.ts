import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { type FakeRequest, FakeVault } from "../../helpers/fake-vault.ts";
import { never, read, revealed, settled } from "../contract.ts";
import { documentOf, openWithToken, ref } from "./harness.ts";

const KEY = ref("secret/mcp/key");
const MINE = {
  rotationId: "rotation mine",
  operator: "alice@laptop",
  createdAt: new Date("2026-03-04T05:06:07Z"),
};
const NEW = new Secret(documentOf("canary-new"));

let server: FakeVault;
let provider: VaultProvider;

beforeEach(async () => {
  server = await FakeVault.start();
  server.kv2.put("mcp/key", { value: "canary-old" });
  ({ provider } = await openWithToken(server.url, "canary-root", { mount: "secret" }));
});
afterEach(async () => {
  await provider.close();
  await server.stop();
});

const promote = () => provider.promote(KEY, MINE.rotationId, "1", never());
const isChange = ({ method }: FakeRequest) => method === "POST" || method === "DELETE";

describe("a promotion that is broken off", () => {
  // Write the new version, note whose it is, take the candidate away.
  it.each([1, 2, 3])("before its change %d is finished by the next call", async (step) => {
    await provider.putCandidate(KEY, NEW, MINE, never());
    let changes = 0;
    server.before = (request) =>
      isChange(request) && ++changes >= step ? { status: 500, body: {} } : undefined;
    expect(await settled(promote())).toMatchObject({ failure: "unavailable" });
    server.before = () => undefined;

    expect(await promote()).toEqual({ version: "2" });

    expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-new"));
    expect(await provider.currentVersion(KEY, never())).toBe("2");
    expect(await provider.findCandidate(KEY, never())).toBeUndefined();
    expect(await promote()).toEqual({ version: "2" });
  });

  it.each([1, 2, 3])("after its change %d, of which no answer came, is finished too", async (step) => {
    await provider.putCandidate(KEY, NEW, MINE, never());
    let changes = 0;
    server.before = (request) => {
      if (!isChange(request) || ++changes !== step) return undefined;
      server.answer(request);
      return { status: 504, body: {} };
    };
    expect(await settled(promote())).toMatchObject({ failure: "unavailable" });
    server.before = () => undefined;

    expect(await promote()).toEqual({ version: "2" });

    expect(await provider.currentVersion(KEY, never())).toBe("2");
    expect(await provider.findCandidate(KEY, never())).toBeUndefined();
  });

  it("is not taken for done when somebody else has written the secret since", async () => {
    await provider.putCandidate(KEY, NEW, MINE, never());
    let changes = 0;
    server.before = (request) =>
      isChange(request) && ++changes === 2 ? { status: 500, body: {} } : undefined;
    expect(await settled(promote())).toMatchObject({ failure: "unavailable" });
    server.before = () => undefined;
    server.kv2.put("mcp/key", { value: "canary-later" });

    expect(await settled(promote())).toMatchObject({ failure: "conflict" });
  });
});

describe("a promotion", () => {
  it("leaves the rest of the custom metadata alone", async () => {
    await server.answer({
      method: "POST",
      path: "secret/metadata/mcp/key",
      query: new URLSearchParams(),
      token: "canary-root",
      namespace: undefined,
      body: { custom_metadata: { owner: "platform" } },
    });
    await provider.putCandidate(KEY, NEW, MINE, never());

    await promote();

    expect(server.kv2.custom("mcp/key")).toEqual({
      owner: "platform",
      "mcp-run-promoted": "rotation mine 2",
    });
  });

  it("needs no right to the custom metadata", async () => {
    await provider.putCandidate(KEY, NEW, MINE, never());
    server.before = ({ method, path }) =>
      method === "POST" && path === "secret/metadata/mcp/key"
        ? { status: 403, body: { errors: ["permission denied"] } }
        : undefined;

    expect(await promote()).toEqual({ version: "2" });

    expect(await provider.findCandidate(KEY, never())).toBeUndefined();
    expect(await settled(promote())).toMatchObject({ failure: "missing" });
  });
});

describe("the place of a candidate", () => {
  it("is free where somebody has deleted what was there, or destroyed it", async () => {
    await provider.putCandidate(KEY, NEW, MINE, never());
    server.kv2.delete("mcp/key-mcp-run-pending");
    expect(await provider.findCandidate(KEY, never())).toBeUndefined();

    const theirs = { ...MINE, rotationId: "rotation-theirs" };
    expect(await provider.putCandidate(KEY, NEW, theirs, never())).toMatchObject(theirs);

    expect(await provider.findCandidate(KEY, never())).toMatchObject(theirs);
  });

  it("holds nothing of ours where somebody else has put something", async () => {
    server.kv2.put("mcp/key-mcp-run-pending", { value: "canary" });

    expect(await settled(provider.findCandidate(KEY, never()))).toMatchObject({
      failure: "invalid",
      hint: expect.stringContaining("vault kv metadata delete -mount=secret mcp/key-mcp-run-pending"),
    });
  });

  it("is nowhere on KV version 1", async () => {
    server.kv1.set("mcp/key", { value: "canary" });
    const key = ref("kv1/mcp/key");

    const outcomes = [
      provider.findCandidate(key, never()),
      provider.putCandidate(key, NEW, MINE, never()),
      provider.promote(key, MINE.rotationId, undefined, never()),
      provider.retire(key, "1", never()),
      provider.restore(key, "1", "2", never()),
    ].map(settled);

    for (const outcome of outcomes) {
      expect(await outcome).toMatchObject({
        failure: "invalid",
        reason: "kv1/ is KV version 1, which has no versions",
        hint: expect.stringContaining("vault kv enable-versioning"),
      });
    }
    expect(server.asked("kv1/")).toEqual([]);
  });
});

describe("a key that was put where there was none", () => {
  const promoted = async (path: string) => {
    await provider.putCandidate(ref(path), NEW, MINE, never());
    return (await provider.promote(ref(path), MINE.rotationId, undefined, never())).version;
  };

  it("is taken away with all that belongs to it", async () => {
    const version = await promoted("secret/mcp/fresh");

    expect(await provider.takeAway(ref("secret/mcp/fresh"), version, never())).toBe(true);

    expect(await provider.list(never())).toEqual([{ path: "secret/mcp/key" }]);
    expect(await provider.takeAway(ref("secret/mcp/fresh"), version, never())).toBe(false);
  });

  it("is taken away without what was deleted before it, which can be undeleted yet", async () => {
    server.kv2.delete("mcp/key");
    const version = await promoted("secret/mcp/key");
    expect(version).toBe("2");

    expect(await provider.takeAway(KEY, version, never())).toBe(true);

    expect(await read(provider, KEY)).toMatchObject({ failure: "missing" });
    expect(
      server.requests.filter(({ method, path }) => method === "DELETE" && path.endsWith("metadata/mcp/key")),
    ).toEqual([]);
    expect(JSON.stringify(await server.answer(asked("secret/metadata/mcp/key")))).toContain('"1":{');
    expect(await provider.takeAway(KEY, version, never())).toBe(false);
    // And it is no obstacle to the next one.
    expect(await promoted("secret/mcp/key")).toBe("3");
  });

  it("is not taken away where somebody has put another one since", async () => {
    const version = await promoted("secret/mcp/fresh");
    server.kv2.put("mcp/fresh", { value: "canary-later" });

    expect(await settled(provider.takeAway(ref("secret/mcp/fresh"), version, never()))).toMatchObject({
      failure: "conflict",
    });

    expect(revealed(await read(provider, ref("secret/mcp/fresh")))).toBe(documentOf("canary-later"));
  });
});

function asked(path: string): FakeRequest {
  const nothing = { query: new URLSearchParams(), namespace: undefined, body: {} };
  return { method: "GET", path, token: "canary-root", ...nothing };
}

describe("whether a rotation will be let write", () => {
  const saying = (rights: unknown, status = 200) => {
    server.before = ({ path }) =>
      path === "sys/capabilities-self" ? { status, body: rights as object } : undefined;
  };

  it.each<[what: string, status: number, body: unknown]>([
    ["has no such question", 404, { errors: ["no handler for route"] }],
    ["does not let it ask", 403, { errors: ["permission denied"] }],
    ["fails", 500, {}],
    ["answers something else", 200, { data: { "secret/data/mcp/key": "create" } }],
    ["answers a page", 200, "<html>"],
    ["lets it do everything", 200, { data: { "secret/data/mcp/key": ["root"] } }],
  ])("is not known before, or no trouble, where the server %s", async (_what, status, body) => {
    saying(body, status);

    await provider.mustBeWritable(KEY, never());
  });

  it("goes by what lies there, and what another rotation has left is made anew", async () => {
    const beside = "secret/data/mcp/key-mcp-run-pending";
    saying({ data: { [beside]: ["create", "read"] } });
    await provider.putCandidate(KEY, NEW, { ...MINE, rotationId: "other" }, never());

    await provider.mustBeWritable(KEY, never());

    saying({ data: { [beside]: ["read"] } });
    expect(await settled(provider.mustBeWritable(KEY, never()))).toMatchObject({
      failure: "denied",
      reason: `the policies of this token do not let it create ${beside}`,
    });
    saying({ data: { "secret/data/mcp/fresh": ["update"] } });
    expect(await settled(provider.mustBeWritable(ref("secret/mcp/fresh"), never()))).toMatchObject({
      reason: "the policies of this token do not let it create secret/data/mcp/fresh",
    });
  });

  it("is asked no longer than somebody waits for it", async () => {
    const asking = new AbortController();
    server.before = ({ path }) => {
      if (path !== "sys/capabilities-self") return undefined;
      asking.abort(new Error("no more"));
      return "never";
    };

    await expect(provider.mustBeWritable(KEY, asking.signal)).rejects.toThrow("no more");
  });
});

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VaultProvider } from "../../../providers/vault/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { FakeVault } from "../../helpers/fake-vault.ts";
import { never, printed, read, revealed, settled } from "../contract.ts";
import { openWithToken, ref } from "./harness.ts";

let server: FakeVault;
let provider: VaultProvider;

beforeEach(async () => {
  server = await FakeVault.start();
  ({ provider } = await openWithToken(server.url, "canary-root", { mount: "secret" }));
});
afterEach(async () => {
  await provider.close();
  await server.stop();
});

const KEY = ref("secret/mcp/key");

describe("a write", () => {
  it.each(["canary", '"canary"', '["canary"]', "null", "{canary"])(
    "takes fields only, and repeats nothing of what is none: %s",
    async (value) => {
      const refusal = await settled(provider.put(KEY, new Secret(value), never()));

      expect(refusal).toMatchObject({
        failure: "invalid",
        reason: "a KV store keeps fields, and this value is not a JSON object",
        hint: expect.stringContaining("#key"),
      });
      expect(printed(refusal)).not.toContain("canary");
      expect(server.requests).toEqual([]);
    },
  );

  it("names the current version where the mount asks for it", async () => {
    server.kv2.casRequired = true;
    server.kv2.put("mcp/key", { value: "canary-1" });

    expect(await provider.put(KEY, new Secret('{"value":"canary-2"}'), never())).toEqual({ version: "2" });

    expect(revealed(await read(provider, KEY))).toBe('{"value":"canary-2"}');
  });

  it("creates a secret again whose versions were all deleted", async () => {
    server.kv2.put("mcp/key", { value: "canary-1" });
    server.kv2.delete("mcp/key");

    const put = provider.put(KEY, new Secret('{"value":"canary-2"}'), never(), { version: undefined });

    expect(await put).toEqual({ version: "2" });
  });

  it("is refused for a version, for a whole mount, and where there is no KV", async () => {
    const value = new Secret('{"value":"canary"}');
    const put = (path: string, version?: string) => settled(provider.put(ref(path, version), value, never()));

    expect(await put("secret/mcp/key", "1")).toMatchObject({ failure: "invalid" });
    expect(await put("database/creds/app")).toMatchObject({
      failure: "invalid",
      reason: "database/ is no KV store (database), so nothing can be written",
    });
    expect(server.asked().filter((line) => line.startsWith("POST"))).toEqual([]);
  });

  it("is never sent a second time when no answer came", async () => {
    await read(provider, KEY);
    server.before = ({ method }) => (method === "POST" ? { status: 502, body: {} } : undefined);

    expect(await settled(provider.put(KEY, new Secret('{"a":1}'), never()))).toMatchObject({
      failure: "unavailable",
    });

    expect(server.asked().filter((line) => line.startsWith("POST"))).toHaveLength(1);
  });
});

describe("a value that is too large", () => {
  it.each([
    [413, []],
    [500, ["put failed due to value being too large; got 2000000 bytes, max: 1048576 bytes"]],
  ])("is called so: %d", async (status, errors) => {
    server.before = ({ method }) => (method === "POST" ? { status, body: { errors } } : undefined);

    expect(await settled(provider.put(KEY, new Secret('{"value":"canary"}'), never()))).toMatchObject({
      failure: "invalid",
      reason: `the value is larger than the server takes (${status})`,
    });
  });
});

describe("a list", () => {
  it("goes into every folder, and leaves out what no ref can name and candidates of rotations", async () => {
    for (const path of ["a", "mcp/b", "mcp/deep/er/c", "mcp/b-mcp-run-pending", "mcp/bad\u0007bell"]) {
      server.kv2.put(path, { value: "canary" });
    }

    const listed = await provider.list(never());

    expect(listed.map(({ path }) => path).sort()).toEqual([
      "secret/a",
      "secret/mcp/b",
      "secret/mcp/deep/er/c",
    ]);
  });

  it("may begin at a folder, and may be of KV version 1", async () => {
    for (const path of ["other", "mcp/b"]) server.kv2.put(path, { value: "canary" });
    server.kv1.set("mcp/c", { value: "canary" });
    const listOf = async (mount: string) => {
      const { provider: one } = await openWithToken(server.url, "canary-root", { mount });
      const listed = await one.list(never());
      await one.close();
      return listed.map(({ path }) => path);
    };

    expect(await listOf("secret/mcp")).toEqual(["secret/mcp/b"]);
    expect(await listOf("kv1")).toEqual(["kv1/mcp/c"]);
  });

  it("asks which mount, where the settings do not say", async () => {
    const { provider: one } = await openWithToken(server.url, "canary-root");

    expect(await settled(one.list(never()))).toMatchObject({
      failure: "invalid",
      reason: "nothing says which mount is to be listed",
      hint: expect.stringContaining("mount:"),
    });
    await one.close();
  });

  // That is a great many requests, one after the other.
  it("has an end", { timeout: 300_000 }, async () => {
    server.before = ({ method }) =>
      method === "LIST" ? { status: 200, body: { data: { keys: ["deeper/", "deep/"] } } } : undefined;

    expect(await settled(provider.list(never()))).toMatchObject({ failure: "invalid" });
  });
});

describe("a removal", () => {
  it("takes every version away", async () => {
    for (const value of ["canary-1", "canary-2"]) server.kv2.put("mcp/key", { value });

    expect(await provider.remove(KEY, never())).toBe(true);

    expect(server.kv2.everything).not.toContain("canary");
  });
});

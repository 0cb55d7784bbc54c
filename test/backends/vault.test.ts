/** The suites of the contract, on a real Vault (or OpenBao); each provider has a KV mount of its own. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { VaultRef } from "../../providers/vault/settings.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { privateCa } from "../helpers/private-ca.ts";
import { ROOT_TOKEN, VaultServer } from "../helpers/vault-server.ts";
import { describeProviderContract, never, read, revealed, settled } from "../providers/contract.ts";
import { describeRotationContract } from "../providers/rotation-contract.ts";
import { documentOf, openWithToken, ref, withoutChangeCheck } from "../providers/vault/harness.ts";

describeBackend("Vault", ["vault"], () => {
  let server: VaultServer;
  let mount: string;

  beforeAll(async () => {
    server = await VaultServer.start();
  });
  afterAll(() => server.stop());

  const openOn = async (version: 1 | 2, entries: Readonly<Record<string, string>>) => {
    mount = await server.mountKv(version);
    for (const [name, value] of Object.entries(entries)) {
      if (version === 1) await server.must("POST", `${mount}/mcp/${name}`, { value });
      else await server.must("POST", `${mount}/data/mcp/${name}`, { data: { value } });
    }
    const { provider } = await openWithToken(server.url, ROOT_TOKEN, { mount });
    return {
      provider,
      ref: (name: string) => ref(`${mount}/mcp/${name}`),
      dispose: async () => void (await server.must("DELETE", `sys/mounts/${mount}`)),
    };
  };

  describeRotationContract<VaultRef>("vault, KV version 2", {
    emptyIs: "kept",
    documentOf,
    unknownVersion: "999",
    pathOf: (name) => `${mount}/mcp/${name}`,
    placeOf: (name) => `${server.url}/v1/${mount}/data/mcp/${name}`,
    open: (entries) => openOn(2, entries),
    another: async () => (await openWithToken(server.url, ROOT_TOKEN, { mount })).provider,
    stored: () => everythingIn(mount),
    rounds: 5,
  });

  describeProviderContract<VaultRef>("vault, KV version 1", {
    emptyIs: "kept",
    documentOf,
    placeOf: (name) => `${server.url}/v1/${mount}/mcp/${name}`,
    async open(entries) {
      const opened = await openOn(1, entries);
      return { ...opened, provider: withoutChangeCheck(opened.provider) };
    },
  });

  /** Every version of every entry, as text. */
  async function everythingIn(kv: string, folder = ""): Promise<string> {
    const { json } = await server.api("LIST", `${kv}/metadata/${folder}`);
    const names: string[] = json?.data?.keys ?? [];
    const texts = names.map(async (name) => {
      if (name.endsWith("/")) return everythingIn(kv, folder + name);
      const metadata = await server.must("GET", `${kv}/metadata/${folder}${name}`);
      const versions = Object.keys(metadata.data.versions).map((version) =>
        server.api("GET", `${kv}/data/${folder}${name}?version=${version}`),
      );
      return JSON.stringify([metadata, ...(await Promise.all(versions))]);
    });
    return (await Promise.all(texts)).join("\n");
  }

  describe("a name in Vault", () => {
    it.each([
      "a b",
      "per%cent",
      "%2e%2e",
      "que?ry",
      "hash#es",
      "plus+and&and=",
      "colon:and;semi",
      "star*",
      "back\\slash",
      "quote\"'`",
      "ünï-🔑",
    ])("reaches the server as it is: %s", async (name) => {
      const { provider, dispose } = await openOn(2, { beside: "canary-beside" });
      const asked = ref(`${mount}/mcp/${name}`);

      await provider.put(asked, new Secret(documentOf("canary-named")), never());

      expect(revealed(await read(provider, asked))).toBe(documentOf("canary-named"));
      expect((await provider.list(never())).map(({ path }) => path).sort()).toEqual(
        [`${mount}/mcp/${name}`, `${mount}/mcp/beside`].sort(),
      );
      expect(await provider.remove(asked, never())).toBe(true);
      expect(revealed(await read(provider, ref(`${mount}/mcp/beside`)))).toBe(documentOf("canary-beside"));
      await provider.close();
      await dispose();
    });
  });

  describe("KV version 1 on the real server", () => {
    it("is written, listed and removed, and refuses what needs versions", async () => {
      const { provider, dispose } = await openOn(1, {});
      const key = ref(`${mount}/mcp/key`);
      const onlyIfNone = { version: undefined };

      expect(await provider.put(key, new Secret('{"a":"canary-1"}'), never(), onlyIfNone)).toEqual({});
      const again = await settled(provider.put(key, new Secret('{"a":"canary-2"}'), never(), onlyIfNone));

      expect(again).toMatchObject({ failure: "conflict" });
      expect(revealed(await read(provider, key))).toBe('{"a":"canary-1"}');
      expect(await provider.list(never())).toEqual([{ path: `${mount}/mcp/key` }]);
      expect(await settled(provider.findCandidate(key, never()))).toMatchObject({
        failure: "invalid",
        reason: expect.stringContaining("KV version 1"),
      });
      expect(await provider.currentVersion(key, never())).toBeUndefined();
      expect(await provider.remove(key, never())).toBe(true);
      expect(await provider.remove(key, never())).toBe(false);
      await provider.close();
      await dispose();
    });
  });
});

describeBackend("Vault with TLS", ["vault"], () => {
  it("is read with the authority that signed its certificate, and not without", async () => {
    const tls = await privateCa();
    const server = await VaultServer.start(tls);
    const caCert = await server.keep("ca.pem", tls.ca);
    await server.must("POST", "secret/data/mcp/key", { data: { value: "canary-tls" } });
    const trusting = await openWithToken(server.tlsUrl, ROOT_TOKEN, { caCert });
    const plain = await openWithToken(server.tlsUrl, ROOT_TOKEN);
    const key = ref("secret/mcp/key");

    const answer = await read(trusting.provider, key);
    const refusal = await settled(read(plain.provider, key));

    expect(revealed(answer)).toBe(documentOf("canary-tls"));
    expect(refusal).toMatchObject({ failure: "unavailable", reason: expect.stringContaining("certificate") });
    await trusting.provider.close();
    await plain.provider.close();
    await server.stop();
  });
});

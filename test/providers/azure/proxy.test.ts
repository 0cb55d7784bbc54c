/** A proxy between us and Azure: used for the vault and for the login, and told no more than their names. */
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isExcepted, proxySettings } from "../../../providers/azure/proxy.ts";
import { type HttpRequest, Transport } from "../../../providers/azure/transport.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { printed, read, revealed } from "../contract.ts";
import { ConnectProxy } from "./connect-proxy.ts";
import { FakeEntra } from "./fake-entra.ts";
import { AzureRoom, never } from "./open.ts";

describe("a proxy of the environment", () => {
  let room: AzureRoom;
  let entra: FakeEntra;
  let proxy: ConnectProxy;

  beforeEach(async () => {
    room = await AzureRoom.start();
    entra = await FakeEntra.start(room.vault.tls);
    proxy = await ConnectProxy.start();
    room.vault.add("key", { value: "canary-value" });
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await room.stop();
    await entra.stop();
    await proxy.stop();
  });

  const open = (env: Record<string, string>) => {
    // The SDK looks into the process itself.
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const credential = {
      type: "client-secret",
      tenantId: "t.example.com",
      clientId: "c",
      clientSecret: "env:S",
    };
    return room.open(
      { credential, authorityHost: entra.url },
      { env, refs: { "env:S": "canary-client-secret" } },
    );
  };
  const host = (url: string) => new URL(url).host;

  it("is the way to the vault and to the login, and is closed with the provider", async () => {
    const provider = await open({ HTTPS_PROXY: `http://${proxy.address}` });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
    await provider.fetch([{ path: "key" }, { path: "key" }], never());

    const to = proxy.tunnels.map((tunnel) => tunnel.to);
    expect(new Set(to)).toEqual(new Set([host(room.vault.url), host(entra.url)]));
    expect(proxy.seen).not.toContain("canary");
    await provider.close();
    await expect.poll(() => proxy.openTunnels).toBe(0);
  });

  it("is told its own login, and nobody else is", async () => {
    const provider = await open({ HTTPS_PROXY: `http://user:canary-p%40ss@${proxy.address}` });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    const login = `Basic ${Buffer.from("user:canary-p@ss").toString("base64")}`;
    expect(new Set(proxy.tunnels.map((tunnel) => tunnel.login))).toEqual(new Set([login]));
    expect(printed(provider)).not.toContain("canary");
  });

  it("is left out where NO_PROXY says so", async () => {
    const provider = await open({ HTTPS_PROXY: `http://${proxy.address}`, NO_PROXY: "127.0.0.1" });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    expect(proxy.tunnels).toEqual([]);
  });

  it("that is not there is an error that speaks of it", async () => {
    const provider = await open({ HTTPS_PROXY: "http://127.0.0.1:1" });

    expect(await read(provider, { path: "key" })).toMatchObject({
      failure: "unavailable",
      reason: expect.stringContaining("(ECONNREFUSED)"),
      hint: expect.stringContaining("HTTPS_PROXY"),
    });
  });

  it("that wants a login says so, and gets nothing of ours", async () => {
    proxy.wantsLogin = true;
    const provider = await open({ HTTPS_PROXY: `http://${proxy.address}` });

    expect(await read(provider, { path: "key" })).toMatchObject({
      failure: "denied",
      reason: "the proxy on the way wants a login (407)",
    });
    expect(proxy.seen).toBe("");
  });

  it.each([
    { HTTPS_PROXY: "canary nonsense" },
    { https_proxy: "ftp://canary@host" },
    { ALL_PROXY: "canary nonsense" },
  ])("that is no address is refused without being repeated: %o", async (env) => {
    const refused = await open(env as Record<string, string>).catch((error: unknown) => error);

    expect(refused).toMatchObject({ failure: "invalid", hint: "HTTPS_PROXY=http://HOST:PORT" });
    expect(printed(refused)).not.toContain("canary");
  });
});

describe("NO_PROXY", () => {
  it.each([
    ["kv.vault.azure.net", true],
    ["vault.azure.net", true],
    [".vault.azure.net", true],
    ["*.vault.azure.net", true],
    ["example.com, .azure.net", true],
    ["*", true],
    ["KV.Vault.Azure.NET:443", true],
    ["kv.vault.azure.net:8443", false],
    ["v.vault.azure.net", false],
    ["azure.com", false],
    ["", false],
    [",", false],
  ])("%j", (except, expected) => {
    const settings = proxySettings({ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: except });
    if (!settings) throw new Error("no settings");

    expect(isExcepted(new URL("https://kv.vault.azure.net/secrets/x"), settings)).toBe(expected);
  });
});

describe("a proxy that can't be gone through", () => {
  it("is told to whoever asks, and to nobody else when the transport is closed", async () => {
    const transport = new Transport({
      clock: new VirtualClock(),
      ca: undefined,
      // It stands for an agent that can't be loaded, after an upgrade: neither can be made.
      proxy: { address: "no address" as unknown as URL, headers: {}, except: "" },
      maxSockets: 1,
      timeoutMs: 1_000,
      mayAsk: () => undefined,
      look: () => undefined,
    });
    const asked = transport.sendRequest({ url: "https://vault.example/", method: "GET" } as HttpRequest);
    await expect(asked).rejects.toThrow("Invalid URL");

    transport.close();
    await setImmediate();
  });
});

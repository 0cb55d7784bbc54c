import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { vaultKind } from "../../../providers/vault.ts";
import { FakeVault } from "../../helpers/fake-vault.ts";
import { refusingUrl } from "../../helpers/hostile-server.ts";
import { privateCa } from "../../helpers/private-ca.ts";
import { read, revealed, settled } from "../contract.ts";
import { documentOf, openVault, openWithToken, ref } from "./harness.ts";

const KEY = ref("secret/mcp/key");
const TOKEN = { VAULT_TOKEN: "canary-root" };

describe("the address of a server", () => {
  it.each([
    ["http://vault.example.com:8200", "http:// would show every secret to the network"],
    ["http://127.0.0.1.example.com", "http:// would show every secret to the network"],
    // A resolver may ask the network for such a name.
    ["http://vault.localhost:8200", "http:// would show every secret to the network"],
    ["https://user:canary@vault.example.com", "holds no user name or password"],
    ["https://vault.example.com/?x=1", "before any ? or #"],
    ["vault.example.com:8200", "an address begins with https://"],
    ["unix:///run/vault.sock", "an address begins with https://"],
    ["", "write an address such as"],
  ])("is refused in the settings: %s", (address, words) => {
    const { error } = vaultKind.configSchema.safeParse({ address });

    expect(error?.issues[0]?.message).toContain(words);
    expect(error?.issues[0]?.message).not.toContain("canary");
  });

  it("is refused in the variable", async () => {
    const env = { ...TOKEN, VAULT_ADDR: "http://canary:pw@vault.example.com:8200" };

    const refusal = await settled(openVault({}, { env }));

    expect(refusal).toMatchObject({ failure: "invalid", reason: expect.stringContaining("VAULT_ADDR") });
    expect(String(refusal)).not.toContain("canary");
  });

  it.each([
    "http://127.0.0.1:8200",
    "http://localhost:8200/",
    "http://[::1]:8200",
    "https://v.example.com/vault/",
  ])("is taken: %s", (address) => {
    expect(vaultKind.configSchema.safeParse({ address }).success).toBe(true);
  });

  it("is asked for where there is none", async () => {
    expect(await settled(openVault({}, { env: TOKEN }))).toMatchObject({
      failure: "invalid",
      reason: "no address of a server is set",
      hint: expect.stringContaining("VAULT_ADDR"),
    });
  });

  it("that has no server says so", async () => {
    const url = await refusingUrl("http");
    const { provider } = await openWithToken(url, "canary-root");

    expect(await settled(read(provider, KEY))).toMatchObject({
      failure: "unavailable",
      reason: `no connection to ${url} (ECONNREFUSED)`,
    });
    await provider.close();
  });
});

describe("what goes with the address", () => {
  let server: FakeVault;
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "vault-"));
    server = await FakeVault.start();
    server.kv2.put("mcp/key", { value: "canary-key" });
  });
  afterEach(async () => {
    await server.stop();
    await rm(folder, { recursive: true });
  });

  it.each([
    ["the settings", { namespace: "team-a/sub" }, {}],
    ["VAULT_NAMESPACE", {}, { VAULT_NAMESPACE: "team-a/sub/" }],
    ["BAO_NAMESPACE", {}, { BAO_NAMESPACE: "/team-a/sub", VAULT_NAMESPACE: "other" }],
  ])("is the namespace of each request, from %s", async (_where, settings, env) => {
    const { provider } = await openVault(
      { address: server.url, ...settings, auth: { method: "userpass", username: "a", password: "env:PW" } },
      { env, refs: { "env:PW": "canary-password" } },
    );

    await read(provider, KEY);
    await provider.close();

    expect(server.requests.length).toBeGreaterThan(3);
    expect(new Set(server.requests.map(({ namespace }) => namespace))).toEqual(new Set(["team-a/sub"]));
  });

  it("is no namespace where none is set, whatever the process has", async () => {
    process.env.VAULT_NAMESPACE = "of-the-process";
    process.env.VAULT_TOKEN = "canary-of-the-process";
    process.env.VAULT_PREFIX = "/prefix";
    try {
      const { provider } = await openVault(
        { address: server.url, auth: { method: "userpass", username: "a", password: "env:PW" } },
        { refs: { "env:PW": "canary-password" } },
      );

      expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));
      await provider.close();

      expect(new Set(server.requests.map(({ namespace }) => namespace))).toEqual(new Set([undefined]));
      expect(server.requests.map(({ token }) => token)).not.toContain("canary-of-the-process");
    } finally {
      delete process.env.VAULT_NAMESPACE;
      delete process.env.VAULT_TOKEN;
      delete process.env.VAULT_PREFIX;
    }
  });

  it.each(["VAULT_CACERT", "BAO_CACERT"])("is the authority in %s", async (variable) => {
    const tls = await privateCa();
    const secure = await FakeVault.start(tls);
    secure.kv2.put("mcp/key", { value: "canary-key" });
    const file = join(folder, "ca.pem");
    await writeFile(file, tls.ca);
    const env = { ...TOKEN, VAULT_ADDR: secure.url, [variable]: file };
    const { provider } = await openVault({}, { env });

    expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));

    await provider.close();
    await secure.stop();
  });

  it.each([
    ["is not there", undefined, "can't read the certificate"],
    ["is no certificate", "canary-no-certificate", "is not a certificate in PEM form"],
  ])("is refused where the file of the authority %s", async (_what, text, words) => {
    const caCert = join(folder, "ca.pem");
    if (text !== undefined) await writeFile(caCert, text);

    const refusal = await settled(openWithToken("https://127.0.0.1:1", "canary-root", { caCert }));

    expect(refusal).toMatchObject({ failure: "invalid", reason: expect.stringContaining(words) });
  });

  it("is never a certificate that is not looked at: VAULT_SKIP_VERIFY only warns", async () => {
    const secure = await FakeVault.start(await privateCa());
    const env = { ...TOKEN, VAULT_ADDR: secure.url, VAULT_SKIP_VERIFY: "true" };
    process.env.VAULT_SKIP_VERIFY = "true";
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    try {
      const { provider, context } = await openVault({}, { env });

      const refusal = await settled(read(provider, KEY));

      expect(refusal).toMatchObject({
        failure: "unavailable",
        reason: expect.stringContaining("certificate"),
      });
      expect(context.events).toEqual([
        expect.objectContaining({ type: "warning", message: expect.stringContaining("VAULT_SKIP_VERIFY") }),
      ]);
      expect(secure.requests).toEqual([]);
      await provider.close();
    } finally {
      delete process.env.VAULT_SKIP_VERIFY;
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      await secure.stop();
    }
  });
});

describe("settings", () => {
  it.each([
    [{ auth: { method: "token", token: "hvs.canary" } }, "write a ref"],
    [{ auth: { method: "jwt" } }, "write one of token:"],
    [{ auth: { method: "jwt", token: "env:A", tokenPath: "/a" } }, "write one of token:"],
    [{ auth: { method: "ldap" } }, "write auth: {"],
    [{ auth: { method: "token-file", path: "token" } }, "absolute path"],
    [{ mount: "../sys" }, "none of them . or .."],
    [{ namespace: "a//b" }, "single / between"],
  ])("are refused with words of their own: %j", (settings, words) => {
    const { error } = vaultKind.configSchema.safeParse(settings);

    expect(error?.issues[0]?.message).toContain(words);
    expect(error?.issues[0]?.message).not.toContain("canary");
  });
});

describe("a ref", () => {
  it.each([
    ["secret", "MOUNT/PATH"],
    ["secret/../sys/raw", ". or .."],
    ["secret//key", "single /"],
    ["secret/key/", "single /"],
    ["secret/a\nb", "control characters"],
    ["secret/\ud800", "control characters"],
    ["sys/raw/x", "sys/ keeps no secrets"],
    ["auth/token/lookup-self", "auth/ keeps no secrets"],
    ["secret/key-mcp-run-pending", "candidate of a rotation"],
    [`secret/${"x".repeat(1024)}`, "1024 characters"],
  ])("is refused: %j", (path, words) => {
    const { error } = vaultKind.refSchema.safeParse({ path });

    expect(error?.issues[0]?.message).toContain(words);
  });

  it.each(["0", "-1", "1.5", "AWSCURRENT", "latest"])("is refused with the version %s", (version) => {
    const { error } = vaultKind.refSchema.safeParse({ path: "secret/key", version });

    expect(error?.issues[0]?.message).toContain("is a number");
  });
});

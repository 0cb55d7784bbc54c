/** What a profile may say of a vault and of a secret in it. */
import { describe, expect, it } from "vitest";
import { isLoopback, settingsOf } from "../../../providers/azure/settings.ts";
import { azureKind } from "../../../providers/azure.ts";
import { config } from "./open.ts";

const VAULT = "https://kv-prod.vault.azure.net";

function complaint(schema: "configSchema" | "refSchema", value: unknown): string {
  const parsed = azureKind[schema].safeParse(value);
  if (parsed.success) throw new Error("it was accepted");
  return parsed.error.issues.map(({ message }) => message).join("; ");
}

describe("the address of a vault", () => {
  it.each([
    ["https://kv-prod.vault.azure.net", "https://login.microsoftonline.com"],
    ["https://kv-prod.vault.azure.net/", "https://login.microsoftonline.com"],
    ["https://KV-PROD.vault.azure.net", "https://login.microsoftonline.com"],
    ["https://kv-prod.vault.azure.cn", "https://login.chinacloudapi.cn"],
    ["https://kv-prod.vault.usgovcloudapi.net", "https://login.microsoftonline.us"],
  ])("%s names its cloud's login", (vault, login) => {
    expect(settingsOf(config({ vault })).authorityHost).toBe(login);
  });

  it("of a private cloud needs the login beside it", () => {
    const vault = "https://kv.vault.cloud.example.com";

    expect(complaint("configSchema", { vault })).toContain("none of Azure's own");
    expect(settingsOf(config({ vault, authorityHost: "https://login.example.com" }))).toMatchObject({
      vault,
      authorityHost: "https://login.example.com",
    });
  });

  it.each(["https://localhost:8443", "https://127.0.0.1:8443", "https://[::1]:8443", "https://kv.localhost"])(
    "%s is this machine, and needs none",
    (vault) => {
      expect(isLoopback(vault)).toBe(true);
      expect(settingsOf(config({ vault })).authorityHost).toBeUndefined();
    },
  );

  it.each([
    "http://kv-prod.vault.azure.net",
    "kv-prod.vault.azure.net",
    "https://kv-prod.vault.azure.net/secrets/x",
    "https://kv-prod.vault.azure.net?x=1",
    "https://kv-prod.vault.azure.net#x",
    "https://user:canary-password@kv-prod.vault.azure.net",
    "",
  ])("can't be %s", (vault) => {
    expect(complaint("configSchema", { vault })).toMatch(/^write the vault's address/);
  });

  it.each([
    "https://vault.azure.net.example.com",
    "https://evil-vault.azure.net",
    "https://kv.vault.azure.net:8443",
    "https://localhost.example.com",
    "https://127.0.0.1.example.com",
  ])("%s does not pass for one of Azure's", (vault) => {
    expect(complaint("configSchema", { vault })).toContain("none of Azure's own");
  });

  it("is not that of a managed HSM", () => {
    expect(complaint("configSchema", { vault: "https://hsm.managedhsm.azure.net" })).toContain(
      "a managed HSM holds keys, not secrets",
    );
  });
});

describe("a credential", () => {
  it.each(["cli", "managed-identity", "workload-identity", "environment", "default"])(
    "may be the word %s",
    (type) => {
      expect(settingsOf(config({ vault: VAULT, credential: type })).credential).toEqual({ type });
    },
  );

  it("is the default chain where none is named", () => {
    expect(settingsOf(config({ vault: VAULT })).credential).toEqual({ type: "default" });
  });

  it("of a client needs its details, and its secret as a ref", () => {
    const details = { type: "client-secret", tenantId: "contoso.onmicrosoft.com", clientId: "a-b-c" };

    expect(complaint("configSchema", { vault: VAULT, credential: "client-secret" })).toContain(
      "needs its details",
    );
    expect(azureKind.configSchema.safeParse({ vault: VAULT, credential: details }).success).toBe(false);
    const credential = { ...details, clientSecret: "keychain:azure" };
    expect(settingsOf(config({ vault: VAULT, credential })).credential).toEqual(credential);
  });

  it("takes a ref and never the value, which it does not repeat", () => {
    const credential = { type: "token", token: "canary value" };

    const parsed = azureKind.configSchema.safeParse({ vault: VAULT, credential });

    expect(parsed.success).toBe(false);
    expect(JSON.stringify(parsed.error?.issues)).toContain("never the value itself");
    expect(JSON.stringify(parsed.error?.issues)).not.toContain("canary");
  });

  it.each([
    { type: "managed-identity", clientId: "x/../y" },
    { type: "workload-identity", tokenFile: "relative/token" },
    { type: "cli", tenantId: "a b" },
    { type: "cli", tenant: "misspelt" },
    { type: "password" },
  ])("can't be %o", (credential) => {
    expect(azureKind.configSchema.safeParse({ vault: VAULT, credential }).success).toBe(false);
  });
});

describe("the other settings", () => {
  it("believe an emulator only on this machine", () => {
    expect(complaint("configSchema", { vault: VAULT, verifyChallenge: false })).toContain(
      "only for an emulator",
    );
    expect(
      settingsOf(config({ vault: "https://localhost:8443", verifyChallenge: false })).verifyChallenge,
    ).toBe(false);
  });

  it("are no others than those", () => {
    expect(azureKind.configSchema.safeParse({ vault: VAULT, allowAnyHost: true }).success).toBe(false);
    expect(azureKind.configSchema.safeParse({ vault: VAULT, caCert: "ca.pem" }).success).toBe(false);
  });
});

describe("a ref", () => {
  it.each(["a", "A-1", "x".repeat(127)])("may be %s", (path) => {
    expect(azureKind.refSchema.parse({ path })).toEqual({ path });
  });

  it.each(["", "a_b", "a.b", "a/b", "../x", "a?x", "a%2fb", "a b", "ä", "x".repeat(128), "a\n"])(
    "can't be %j",
    (path) => {
      expect(complaint("refSchema", { path })).toContain("1 to 127 letters, digits and dashes");
    },
  );

  it("never names the candidate of a rotation", () => {
    expect(complaint("refSchema", { path: "token-MCP-run-pending" })).toContain("belongs to a rotation");
  });

  it("may name a version, by its 32 digits", () => {
    const version = "0123456789abcdef0123456789ABCDEF";

    expect(azureKind.refSchema.parse({ path: "a", version })).toEqual({ path: "a", version });
    for (const wrong of ["latest", "../x", `a/${version}`]) {
      expect(complaint("refSchema", { path: "a", version: wrong })).toContain("32 hexadecimal digits");
    }
  });
});

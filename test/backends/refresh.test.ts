/** Secrets that change at real backends, under a session of the official SDK with the built program. */
import { describe, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { FAKE_TOKEN, FakeKeyVault } from "../helpers/fake-key-vault.ts";
import { Gateway } from "../helpers/gateway.ts";
import { KeyedRoom } from "../helpers/keyed-room.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { PROGRAMS, SecretService } from "../helpers/secret-service.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const room = new KeyedRoom();

const READ = 'path "secret/data/mcp/*" { capabilities = ["read"] }';
const LOOK = 'path "secret/metadata/mcp/*" { capabilities = ["read"] }';

/** A server with one secret, behind a gateway, and a token that may do what the policy says. */
async function vaultWith(value: string, policy: string) {
  const vault = await VaultServer.start();
  const gateway = await Gateway.to(vault.url);
  room.closing({
    async close() {
      await gateway.shut();
      await vault.stop();
    },
  });
  const put = (next: string) => vault.must("POST", "secret/data/mcp/key", { data: { value: next } });
  await put(value);
  const profile = `providers: { vault: { type: vault, address: "${gateway.url}" } }\nsecrets: { KEY: "vault:secret/mcp/key#value" }\n`;
  return { vault, gateway, put, profile, env: { VAULT_TOKEN: await vault.tokenWith(policy) } };
}

describeBackend("a changing secret in Vault", ["vault"], () => {
  it("reaches the server at SIGUSR2, in the same session, and shows nowhere", async () => {
    const { put, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const session = await room.serve(profile, env);
    const before = await session.has("canary-one");
    await put("canary-two");
    session.refresh();
    const after = await session.has("canary-two");

    expect(after.pid).not.toBe(before.pid);
    await until("the old server has gone", () => !isAlive(before.pid));
    expect(session.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });

  it("costs a look without a change one question for the version, and no value", async () => {
    const { put, gateway, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const session = await room.serve(profile, env);
    await session.has("canary-one");
    gateway.passed.length = 0;
    session.refresh();
    await until("a look", () => gateway.count("/metadata/") === 1);
    await put("canary-two");
    session.refresh();
    await session.has("canary-two");

    const looks = ["sys/internal/ui/mounts/secret/mcp/key", "secret/metadata/mcp/key"];
    const asked = [...looks, ...looks, "secret/data/mcp/key"];
    expect(gateway.passed.map(({ path }) => path)).toEqual(asked.map((path) => `/v1/${path}`));
  });

  it("may go and come again if it is optional, and else stays in use when it is deleted", async () => {
    const { vault, put, gateway, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const optional = profile.replace(
      /"vault:secret.*"/,
      '{ from: "vault:secret/mcp/key#value", optional: true }',
    );
    const session = await room.serve(optional, env);
    await session.has("canary-one");
    await vault.must("DELETE", "secret/data/mcp/key");
    session.refresh();
    await session.askUntil("no key", ({ key }) => key === undefined);
    await put("canary-two");
    session.refresh();
    await session.has("canary-two");
    await session.close();

    const strict = await room.serve(profile, env);
    const before = await strict.has("canary-two");
    await vault.must("DELETE", "secret/data/mcp/key");
    gateway.passed.length = 0;
    strict.refresh();
    await strict.says("the server goes on with what it has");
    expect(await strict.ask()).toEqual(before);
    expect(strict.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });

  it("is found without a right to versions, which is asked for once", async () => {
    const { put, gateway, profile, env } = await vaultWith("canary-one", READ);
    const session = await room.serve(`${profile}refresh: { every: 1s }\n`, env);
    await session.has("canary-one");
    await until("some looks", () => gateway.count("/data/mcp/key") >= 4);
    await put("canary-two");
    await session.has("canary-two");

    expect(gateway.count("/metadata/", 403)).toBe(1);
    expect(gateway.count("/metadata/")).toBe(1);
  });
});

describeBackend("a login to Vault that can be done once", ["vault"], () => {
  it("is enough for a wrapped secret-id, however often the secret changes", async () => {
    const { vault, gateway, put } = await vaultWith("canary-one", READ);
    await vault.must("POST", "sys/policies/acl/app", { policy: `${READ}\n${LOOK}` });
    await vault.must("POST", "sys/auth/approle", { type: "approle" });
    await vault.must("POST", "auth/approle/role/mcp", { token_policies: "app" });
    const { data } = await vault.must("GET", "auth/approle/role/mcp/role-id");
    const wrapping = { "X-Vault-Wrap-TTL": "5m" };
    const { wrap_info } = await vault.must("POST", "auth/approle/role/mcp/secret-id", {}, wrapping);
    const session = await room.serve(
      `providers: { vault: { type: vault, address: "${gateway.url}", auth: { method: approle, roleId: ${data.role_id}, secretId: "env:WRAPPED", wrapped: true } } }
secrets: { KEY: "vault:secret/mcp/key#value" }
`,
      { WRAPPED: wrap_info.token },
    );
    await session.has("canary-one");
    for (const value of ["canary-two", "canary-three"]) {
      await put(value);
      session.refresh();
      await session.has(value);
    }

    expect(gateway.count("/sys/wrapping/unwrap")).toBe(1);
    expect(session.log).not.toContain("security event");
  });
});

describeBackend("a backend that is out of reach", ["vault", "moto"], () => {
  it("leaves the server as it is, is told of once, and is asked again", async () => {
    const moto = await MotoServer.start();
    room.closing({ close: () => moto.stop() });
    const gateway = await Gateway.to(moto.url);
    room.closing({ close: () => gateway.shut() });
    await moto.must("CreateSecret", { Name: "key", SecretString: "canary-one" });
    const session = await room.serve(
      `providers: { aws: { type: aws-secrets-manager, region: ${MOTO_REGION}, endpoint: "${gateway.url}" } }
fetchTimeout: 10s
secrets: { KEY: "aws:key" }
`,
      { AWS_ACCESS_KEY_ID: "canary-id", AWS_SECRET_ACCESS_KEY: "canary-secret" },
    );
    const before = await session.has("canary-one");
    await moto.must("PutSecretValue", { SecretId: "key", SecretString: "canary-two" });
    session.refresh();
    const second = await session.has("canary-two");
    expect(second.pid).not.toBe(before.pid);

    await gateway.shut();
    await moto.stop();
    session.refresh();
    await session.says("the server goes on with what it has");
    session.refresh();
    expect(await session.ask()).toEqual(second);

    const another = await MotoServer.start();
    room.closing({ close: () => another.stop() });
    await another.must("CreateSecret", { Name: "key", SecretString: "canary-three" });
    await gateway.open(another.url);
    await session.has("canary-three");
    await session.says("the secrets could be looked at again");

    expect(session.log.match(/the server goes on with what it has/g)).toHaveLength(1);
    expect(session.placesWith(["canary-one", "canary-two", "canary-three"])).toEqual([]);
    // What a client puts there itself is found.
    expect(session.placesWith(["canary-secret"])).toEqual(["environ"]);
  });

  it("is asked at once at SIGUSR2, also where it has failed so often that it is left alone", async () => {
    const { gateway, put, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const session = await room.serve(profile, env);
    await session.has("canary-one");
    await gateway.shut();
    const other = ["exec", "p", "--", process.execPath, "-e", "0"];
    for (const _ of [1, 2, 3]) expect(room.mcpRun.run(other, { env }).status).toBe(69);
    expect(room.mcpRun.run(other, { env }).stderr).toContain("is left alone until");
    expect(room.mcpRun.filesWith('"failures":')).toHaveLength(1);
    await put("canary-two");
    await gateway.open();
    session.refresh();
    await until("it is asked", () => gateway.count("/data/mcp/key") >= 2);

    await session.has("canary-two");
    expect(room.mcpRun.filesWith('"failures":')).toEqual([]);
  });

  it("is stood in for by the cache at the start, and asked until it answers", async () => {
    const { vault, gateway, put, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const cached = `${profile}cache: { maxAge: 1h }\n`;
    const first = await room.serve(cached, env);
    await first.has("canary-one");
    await first.close();

    await gateway.shut();
    await put("canary-two");
    const session = await room.serve(cached, env);
    await session.has("canary-one");
    await session.says("is out of reach");
    await gateway.open();
    await session.has("canary-two");
    const places = session.placesWith(["canary-one", "canary-two"]);
    await session.close();

    await gateway.shut();
    await vault.stop();
    const third = await room.serve(cached, env);
    expect((await third.ask()).key).toBe("canary-two");
    expect([...places, ...third.placesWith(["canary-one", "canary-two"])]).toEqual([]);
  });
});

describeBackend("a changing secret in the OS keychain", PROGRAMS, () => {
  it("reaches the server, also if another program has written it", async () => {
    const keyring = await SecretService.start();
    room.closing({ close: () => keyring.stop() });
    const env = { XDG_RUNTIME_DIR: keyring.env.XDG_RUNTIME_DIR ?? "", MCP_RUN_KEYCHAIN: "" };
    const item = ["service", "mcp-key", "username", "alice"];
    keyring.store(item, "canary-one");
    const session = await room.serve('secrets: { KEY: "keychain:mcp-key/alice" }\n', env);
    await session.has("canary-one");
    keyring.store(item, "canary-two");
    session.refresh();
    await session.has("canary-two");
    const set = room.mcpRun.run(["secrets", "set", "keychain:mcp-key/alice"], { input: "canary-three", env });
    expect(set.status).toBe(0);
    session.refresh();
    await session.has("canary-three");

    expect(session.placesWith(["canary-one", "canary-two", "canary-three"])).toEqual([]);
  });
});

describe("a changing secret in the local store", () => {
  it("reaches the server after `secrets set`", async () => {
    room.mcpRun.set("local:key", "canary-one");
    const session = await room.serve("secrets: { KEY: local:key }\n");
    await session.has("canary-one");
    room.mcpRun.set("local:key", "canary-two");
    session.refresh();
    await session.has("canary-two");

    expect(session.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });
});

describe("a secret with a date of expiry in Azure Key Vault", () => {
  // At 85 % of the time that is left: so much of it that the rest is enough to ask for it on a slow machine.
  it("is replaced before that date, without any schedule", async () => {
    const vault = await FakeKeyVault.start();
    room.closing({ close: () => vault.stop() });
    const ca = room.mcpRun.write("ca.pem", vault.tls.ca);
    const endsAt = Math.floor(Date.now() / 1_000) + 50;
    vault.add("key", { value: "canary-one", exp: endsAt });
    let lastAskedAt = 0;
    vault.instead = () => {
      lastAskedAt = Date.now();
      return undefined;
    };
    const session = await room.serve(
      `providers: { azure: { type: azure-key-vault, vault: "${vault.url}", caCert: ${ca}, verifyChallenge: false, credential: { type: token, token: "env:TOKEN" } } }
secrets: { KEY: "azure:key" }
`,
      { TOKEN: FAKE_TOKEN },
    );
    await session.has("canary-one");
    vault.add("key", { value: "canary-two", exp: endsAt + 3_600 });
    await session.has("canary-two");

    expect(lastAskedAt).toBeLessThan(endsAt * 1_000);
    expect(session.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });
});

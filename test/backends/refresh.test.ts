/** Secrets that change at real backends, under a session of the official SDK with the built program. */
import { afterEach, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { FAKE_TOKEN, FakeKeyVault } from "../helpers/fake-key-vault.ts";
import { Gateway } from "../helpers/gateway.ts";
import { Installation } from "../helpers/installation.ts";
import { KeyedSession } from "../helpers/keyed-session.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { PROGRAMS, SecretService } from "../helpers/secret-service.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const open: { close(): Promise<void> }[] = [];
let mcpRun: Installation;

/** What is closed after the test, the latest first. */
function closing<T extends { close(): Promise<void> }>(one: T): T {
  open.unshift(one);
  return one;
}

const serve = async (profile: string, env?: Readonly<Record<string, string>>) =>
  closing(await KeyedSession.start(mcpRun, profile, env));

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(async () => {
  try {
    for (const one of open.splice(0)) await one.close();
  } finally {
    mcpRun.remove();
  }
});

const READ = 'path "secret/data/mcp/*" { capabilities = ["read"] }';
const LOOK = 'path "secret/metadata/mcp/*" { capabilities = ["read"] }';

/** A server with one secret, behind a gateway, and a token that may do what the policy says. */
async function vaultWith(value: string, policy: string) {
  const vault = await VaultServer.start();
  const gateway = await Gateway.to(vault.url);
  closing({
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
    const session = await serve(profile, env);
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
    const session = await serve(profile, env);
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

  it("is found without a right to versions, which is asked for once", async () => {
    const { put, gateway, profile, env } = await vaultWith("canary-one", READ);
    const session = await serve(`${profile}refresh: { every: 1s }\n`, env);
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
    const session = await serve(
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

describeBackend("a lease of Vault", ["vault", "moto"], () => {
  const CREDS = "/v1/aws/creds/app";
  const POLICY = `
path "aws/creds/app" { capabilities = ["read"] }
path "secret/data/mcp/*" { capabilities = ["read"] }
path "secret/metadata/mcp/*" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
`;

  /** A Vault that makes users at moto, and a login that may read them; both behind a gateway. */
  async function vaultWithUsers(skip: TestContext["skip"], times: { lease: string; lease_max: string }) {
    const vault = await VaultServer.start();
    const moto = await MotoServer.start();
    const gateway = await Gateway.to(vault.url);
    closing({
      async close() {
        await gateway.shut();
        await vault.stop();
        await moto.stop();
      },
    });
    const hasEngine = (await vault.api("GET", "sys/plugins/catalog/secret/aws")).status === 200;
    skip(!hasEngine, "this server has no AWS engine (OpenBao keeps it apart)");
    await giveUsersOf(moto, vault, times);
    await vault.must("POST", "sys/auth/userpass", { type: "userpass" });
    await vault.must("POST", "sys/policies/acl/app", { policy: POLICY });
    await vault.must("POST", "auth/userpass/users/alice", { password: "canary-pw", token_policies: "app" });
    return {
      vault,
      gateway,
      put: (value: string) => vault.must("POST", "secret/data/mcp/key", { data: { value } }),
      leases: async (): Promise<readonly string[]> =>
        (await vault.api("LIST", "sys/leases/lookup/aws/creds/app")).json?.data?.keys ?? [],
      logins: async (): Promise<number> => {
        const { data } = await vault.must("LIST", "auth/token/accessors");
        return data.keys.length - 1;
      },
      provider: `providers: { vault: { type: vault, address: "${gateway.url}", auth: { method: userpass, username: alice, password: "env:PW" } } }\n`,
      env: { PW: "canary-pw" },
    };
  }

  it("outlives servers, is followed by another one in time, and ends with the session", async ({ skip }) => {
    const times = { lease: "12s", lease_max: "18s" };
    const { gateway, put, leases, logins, provider, env } = await vaultWithUsers(skip, times);
    await put("canary-one");
    const session = await serve(
      `${provider}refresh: { every: 2s }
secrets:
  ACCOUNT: { from: "vault:aws/creds/app#secret_key", deliver: none }
  STATIC: { from: "vault:secret/mcp/key#value", deliver: none }
  KEY: { template: "{{STATIC}} {{ACCOUNT}}" }
`,
      env,
    );
    const first = await session.ask();
    const [, account = ""] = first.key.split(" ");
    const lent = await leases();

    // Another secret: the account stays, and so does its lease, although the server that came with it has gone.
    await put("canary-two");
    session.refresh();
    const second = await session.has(`canary-two ${account}`);
    await until("the first server has gone", () => !isAlive(first.pid));
    expect(await leases()).toEqual(lent);

    // Renewed, then not any more: before the end there is a successor, and the old one goes after its last server.
    const aliveAtRevocation: boolean[] = [];
    gateway.onRequest = (_method, path) => {
      if (path.endsWith("/sys/leases/revoke")) aliveAtRevocation.push(isAlive(second.pid));
    };
    const third = await session.askUntil("another account", ({ key }) => !key.endsWith(account));
    const [staticValue, successor = ""] = third.key.split(" ");
    expect(staticValue).toBe("canary-two");
    expect(gateway.count("/sys/leases/renew", 200)).toBeGreaterThanOrEqual(1);
    await until("the old lease is revoked", () => gateway.count("/sys/leases/revoke", 204) === 1);
    expect(aliveAtRevocation).toEqual([false]);
    expect(await leases()).toHaveLength(1);
    expect(await leases()).not.toEqual(lent);

    // A server that died comes back with what it had.
    process.kill(third.pid, "SIGKILL");
    await session.says("has taken over from the server that ended");
    expect((await session.ask()).key).toBe(third.key);
    expect(gateway.count(CREDS)).toBe(2);

    expect(session.placesWith(["canary-one", "canary-two", account, successor])).toEqual([]);
    await session.close();
    expect(await leases()).toEqual([]);
    expect(await logins()).toBe(0);
    expect(session.log).not.toMatch(/lease/);
  });

  it("is followed by another one when somebody has revoked it", async ({ skip }) => {
    const times = { lease: "4s", lease_max: "1h" };
    const { vault, leases, provider, env } = await vaultWithUsers(skip, times);
    const session = await serve(`${provider}secrets: { KEY: "vault:aws/creds/app#secret_key" }\n`, env);
    const { key } = await session.ask();
    await vault.must("POST", "sys/leases/revoke-prefix/aws/creds/app");
    const next = await session.askUntil("another account", (told) => told.key !== key);

    expect(await leases()).toHaveLength(1);
    expect(session.placesWith([key, next.key])).toEqual([]);
  });

  /** Lets the engine of Vault make users at moto, for as long as these settings say. */
  async function giveUsersOf(moto: MotoServer, vault: VaultServer, times: object): Promise<void> {
    await vault.must("POST", "sys/mounts/aws", { type: "aws" });
    await vault.must("POST", "aws/config/root", {
      access_key: "AKIAEXAMPLE",
      secret_key: "canary-engine",
      region: "eu-west-1",
      iam_endpoint: moto.url,
      sts_endpoint: moto.url,
    });
    await vault.must("POST", "aws/config/lease", times);
    const policy = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "s3:*", Resource: "*" }] };
    await vault.must("POST", "aws/roles/app", {
      credential_type: "iam_user",
      policy_document: JSON.stringify(policy),
    });
  }
});

describeBackend("a backend that is out of reach", ["vault", "moto"], () => {
  it("leaves the server as it is, is told of once, and is asked again", async () => {
    const moto = await MotoServer.start();
    const gateway = await Gateway.to(moto.url);
    closing({ close: () => gateway.shut() });
    await moto.must("CreateSecret", { Name: "key", SecretString: "canary-one" });
    const session = await serve(
      `providers: { aws: { type: aws-secrets-manager, region: ${MOTO_REGION}, endpoint: "${gateway.url}" } }
fetchTimeout: 1s
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
    closing({ close: () => another.stop() });
    await another.must("CreateSecret", { Name: "key", SecretString: "canary-three" });
    await gateway.open(another.url);
    await session.has("canary-three");
    await session.says("the secrets could be looked at again");

    expect(session.log.match(/the server goes on with what it has/g)).toHaveLength(1);
    expect(session.placesWith(["canary-one", "canary-two", "canary-three"])).toEqual([]);
  });

  it("is asked at once at SIGUSR2, also where it has failed so often that it is left alone", async () => {
    const { gateway, put, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const session = await serve(`${profile}fetchTimeout: 1s\n`, env);
    await session.has("canary-one");
    await gateway.shut();
    const other = ["exec", "p", "--", process.execPath, "-e", "0"];
    for (const _ of [1, 2, 3]) expect(mcpRun.run(other, { env }).status).toBe(69);
    expect(mcpRun.run(other, { env }).stderr).toContain("is left alone until");
    expect(mcpRun.filesWith('"failures":')).toHaveLength(1);
    await put("canary-two");
    await gateway.open();
    session.refresh();
    await until("it is asked", () => gateway.count("/data/mcp/key") === 2, 5_000);

    await session.has("canary-two");
    expect(mcpRun.filesWith('"failures":')).toEqual([]);
  });

  it("is stood in for by the cache at the start, and asked until it answers", async () => {
    const { vault, gateway, put, profile, env } = await vaultWith("canary-one", `${READ}\n${LOOK}`);
    const cached = `${profile}cache: { maxAge: 1h }\n`;
    const first = await serve(cached, env);
    await first.has("canary-one");
    await first.close();

    await gateway.shut();
    await put("canary-two");
    const session = await serve(cached, env);
    await session.has("canary-one");
    await session.says("is out of reach");
    await gateway.open();
    await session.has("canary-two");
    const places = session.placesWith(["canary-one", "canary-two"]);
    await session.close();

    await gateway.shut();
    await vault.stop();
    const third = await serve(cached, env);
    expect((await third.ask()).key).toBe("canary-two");
    expect([...places, ...third.placesWith(["canary-one", "canary-two"])]).toEqual([]);
  });
});

describeBackend("a changing secret in the OS keychain", PROGRAMS, () => {
  it("reaches the server, also if another program has written it", async () => {
    const keyring = await SecretService.start();
    closing({ close: () => keyring.stop() });
    const env = { XDG_RUNTIME_DIR: keyring.env.XDG_RUNTIME_DIR ?? "", MCP_RUN_KEYCHAIN: "" };
    const item = ["service", "mcp-key", "username", "alice"];
    keyring.store(item, "canary-one");
    const session = await serve('secrets: { KEY: "keychain:mcp-key/alice" }\n', env);
    await session.has("canary-one");
    keyring.store(item, "canary-two");
    session.refresh();
    await session.has("canary-two");
    const set = mcpRun.run(["secrets", "set", "keychain:mcp-key/alice"], { input: "canary-three", env });
    expect(set.status).toBe(0);
    session.refresh();
    await session.has("canary-three");

    expect(session.placesWith(["canary-one", "canary-two", "canary-three"])).toEqual([]);
  });
});

describe("a changing secret in the local store", () => {
  it("reaches the server", async () => {
    mcpRun.set("local:key", "canary-one");
    const session = await serve("secrets: { KEY: local:key }\n");
    await session.has("canary-one");
    mcpRun.set("local:key", "canary-two");
    session.refresh();
    await session.has("canary-two");

    expect(session.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });
});

describe("a secret with a date of expiry in Azure Key Vault", () => {
  it("is replaced before that date, without any schedule", async () => {
    const vault = await FakeKeyVault.start();
    closing({ close: () => vault.stop() });
    const ca = mcpRun.write("ca.pem", vault.tls.ca);
    const endsAt = Math.floor(Date.now() / 1_000) + 8;
    vault.add("key", { value: "canary-one", exp: endsAt });
    const session = await serve(
      `providers: { azure: { type: azure-key-vault, vault: "${vault.url}", caCert: ${ca}, verifyChallenge: false, credential: { type: token, token: "env:TOKEN" } } }
secrets: { KEY: "azure:key" }
`,
      { TOKEN: FAKE_TOKEN },
    );
    await session.has("canary-one");
    vault.add("key", { value: "canary-two", exp: endsAt + 3_600 });
    await session.has("canary-two");

    expect(Date.now()).toBeLessThan(endsAt * 1_000);
    expect(session.placesWith(["canary-one", "canary-two"])).toEqual([]);
  });
});

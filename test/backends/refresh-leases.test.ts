/** Accounts of a real Vault that live as long as a lease, under a session of the official SDK with the built program. */
import { expect, it, type TestContext } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { Gateway } from "../helpers/gateway.ts";
import { KeyedRoom } from "../helpers/keyed-room.ts";
import { MotoServer } from "../helpers/moto-server.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { until as untilAnswered } from "../helpers/server-process.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const room = new KeyedRoom();

describeBackend("a lease of Vault under a running server", ["vault", "moto"], () => {
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
    const moto = await MotoServer.start();
    room.closing({ close: () => moto.stop() });
    const vault = await VaultServer.start();
    room.closing({ close: () => vault.stop() });
    const gateway = await Gateway.to(vault.url);
    room.closing({ close: () => gateway.shut() });
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
      /** In ms since the epoch. */
      endOf: async (id = ""): Promise<number> => {
        const lease = { lease_id: `aws/creds/app/${id}` };
        return Date.parse((await vault.must("POST", "sys/leases/lookup", lease)).data.expire_time);
      },
      logins: async (): Promise<number> => {
        const { data } = await vault.must("LIST", "auth/token/accessors");
        return data.keys.length - 1;
      },
      provider: `providers: { vault: { type: vault, address: "${gateway.url}", auth: { method: userpass, username: alice, password: "env:PW" } } }\n`,
      env: { PW: "canary-pw" },
    };
  }

  it("outlives servers, is followed by another one in time, and ends with the session", async ({ skip }) => {
    // A successor is fetched 9 s before the end.
    const times = { lease: "60s", lease_max: "60s" };
    const { gateway, put, leases, endOf, logins, provider, env } = await vaultWithUsers(skip, times);
    await put("canary-one");
    const session = await room.serve(
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
    const endsAt = await endOf(lent[0]);

    // Another secret: the account stays, and so does its lease, although the server that came with it has gone.
    await put("canary-two");
    session.refresh();
    const second = await session.has(`canary-two ${account}`);
    await until("the first server has gone", () => !isAlive(first.pid));
    expect(await leases()).toEqual(lent);

    // It can be renewed, and not for longer: before the end there is a successor, and the old one goes after its last server.
    const aliveAtRevocation: boolean[] = [];
    gateway.onRequest = (_method, path) => {
      if (path.endsWith("/sys/leases/revoke")) aliveAtRevocation.push(isAlive(second.pid));
    };
    const third = await session.askUntil("another account", ({ key }) => !key.endsWith(account));
    const [staticValue, successor = ""] = third.key.split(" ");
    expect(staticValue).toBe("canary-two");
    expect(gateway.count("/sys/leases/renew", 200)).toBeGreaterThanOrEqual(1);
    await until("the second server has gone", () => !isAlive(second.pid));
    // What ends by itself meanwhile, on a machine that is slow enough, need not be revoked.
    if (Date.now() < endsAt - 3_000)
      await until("the old lease is revoked", () => gateway.count("/sys/leases/revoke", 204) === 1);
    expect(aliveAtRevocation).not.toContain(true);
    await untilAnswered("the old lease is over", async () => !(await leases()).includes(lent[0] ?? ""));
    expect(await leases()).toHaveLength(1);

    // A server that died comes back with what it had.
    process.kill(third.pid, "SIGKILL");
    await session.says("has taken over from the server that ended");
    expect((await session.ask()).key).toBe(third.key);
    expect(gateway.count(CREDS)).toBe(2);

    expect(session.placesWith(["canary-one", "canary-two", account, successor])).toEqual([]);
    await session.close();
    expect(await leases()).toEqual([]);
    // The server goes on with it also where it was waited for no longer.
    await untilAnswered("the login is over", async () => (await logins()) === 0);
    expect(session.log).not.toMatch(/lease/);
  });

  it("is followed by another one when somebody has revoked it", async ({ skip }) => {
    const times = { lease: "6s", lease_max: "1h" };
    const { vault, leases, provider, env } = await vaultWithUsers(skip, times);
    const session = await room.serve(`${provider}secrets: { KEY: "vault:aws/creds/app#secret_key" }\n`, env);
    const { key } = await session.ask();
    await vault.must("POST", "sys/leases/revoke-prefix/aws/creds/app");
    const next = await session.askUntil("another account", (told) => told.key !== key);

    // Where a renewal comes too late, there may be none for a moment.
    await untilAnswered("there is a lease", async () => (await leases()).length === 1);
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

/** Secrets that live as long as a lease, on a real Vault: its AWS engine makes users at a moto server. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { VaultProvider } from "../../providers/vault/provider.ts";
import type { FetchedSecret, Lease } from "../../src/secrets/provider.ts";
import { describeBackend } from "../helpers/backends.ts";
import { MotoServer } from "../helpers/moto-server.ts";
import { VaultServer } from "../helpers/vault-server.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { never, printed, read, settled } from "../providers/contract.ts";
import { openVault, openWithToken, ref } from "../providers/vault/harness.ts";

const APP = ref("aws/creds/app");
const POLICY = `
path "aws/creds/app" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
`;
const HOUR = 3_600_000;

describeBackend("leases of Vault", ["vault", "moto"], () => {
  let moto: MotoServer;
  let server: VaultServer;
  let hasEngine = false;
  const opened: VaultProvider[] = [];

  beforeAll(async () => {
    moto = await MotoServer.start();
    server = await VaultServer.start();
    hasEngine = (await server.api("GET", "sys/plugins/catalog/secret/aws")).status === 200;
    if (!hasEngine) return;
    await server.must("POST", "sys/auth/userpass", { type: "userpass" });
    await server.must("POST", "sys/policies/acl/app", { policy: POLICY });
    await server.must("POST", "auth/userpass/users/alice", {
      password: "canary-pw",
      token_policies: "app",
      token_ttl: "1h",
    });
    await server.must("POST", "sys/mounts/aws", { type: "aws" });
    await server.must("POST", "aws/config/root", {
      access_key: "AKIAEXAMPLE",
      secret_key: "canary-engine",
      region: "eu-west-1",
      iam_endpoint: moto.url,
      sts_endpoint: moto.url,
    });
    await server.must("POST", "aws/config/lease", { lease: "30m", lease_max: "2h" });
    const policy = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "s3:*", Resource: "*" }] };
    await server.must("POST", "aws/roles/app", {
      credential_type: "iam_user",
      policy_document: JSON.stringify(policy),
    });
  });
  beforeEach(({ skip }) => skip(!hasEngine, "this server has no AWS engine (OpenBao keeps it apart)"));
  afterEach(async () => {
    for (const provider of opened.splice(0)) await provider.close();
    // The server says that a token is revoked before all is done that hangs on it.
    await eventually(async () => (await leaseIds()).length === 0);
  });
  afterAll(async () => {
    await server.stop();
    await moto.stop();
  });

  const logIn = async (clock = new VirtualClock()) => {
    const { provider } = await openVault(
      { address: server.url, auth: { method: "userpass", username: "alice", password: "env:PW" } },
      { refs: { "env:PW": "canary-pw" }, clock },
    );
    opened.push(provider);
    return provider;
  };
  const leaseOf = async (provider: VaultProvider): Promise<Lease> => {
    const { lease } = (await read(provider, APP)) as FetchedSecret;
    if (!lease) throw new Error("it has no lease");
    return lease;
  };
  const userNames = async (): Promise<string[]> => {
    const response = await fetch(moto.url, {
      method: "POST",
      headers: {
        // By it moto knows which service is meant.
        authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/iam/aws4_request, Signature=0",
        "content-type": "application/x-www-form-urlencoded",
      },
      body: "Action=ListUsers&Version=2010-05-08",
    });
    return [...(await response.text()).matchAll(/<UserName>([^<]+)/g)].map(([, name]) => name as string);
  };
  const leaseIds = async (): Promise<string[]> =>
    (await server.api("LIST", "sys/leases/lookup/aws/creds/app")).json?.data?.keys ?? [];
  /** When the logins of alice that are alive were renewed. */
  const loginRenewals = async (): Promise<unknown[]> => {
    const { data } = await server.must("LIST", "auth/token/accessors");
    const tokens = await Promise.all(
      data.keys.map((accessor: string) => server.api("POST", "auth/token/lookup-accessor", { accessor })),
    );
    return tokens
      .filter(({ json }) => json.data?.display_name === "userpass-alice")
      .flatMap(({ json }) => json.data.last_renewal_time ?? []);
  };

  it("come with keys of a new user, which are gone when they are revoked", async () => {
    const provider = await logIn();
    const found = (await read(provider, APP)) as FetchedSecret;
    expect(JSON.parse(found.value.reveal())).toMatchObject({
      access_key: expect.stringMatching(/^AKIA/),
      secret_key: expect.any(String),
    });
    expect(found.lease?.term).toEqual({ durationMs: HOUR / 2, renewable: true });
    expect(await userNames()).toHaveLength(1);

    await found.lease?.revoke(never());

    expect(await userNames()).toEqual([]);
    expect(await leaseIds()).toEqual([]);
    expect(printed(found)).not.toContain(JSON.parse(found.value.reveal()).secret_key);
  });

  it("are renewed for as long as they were given at first", async () => {
    const lease = await leaseOf(await logIn());

    const term = await lease.renew(never());

    expect(term).toEqual({ durationMs: HOUR / 2, renewable: true });
  });

  it("that somebody else has ended can't be renewed", async () => {
    const lease = await leaseOf(await logIn());
    await server.must("POST", "sys/leases/revoke-prefix/aws/creds/app");

    expect(await settled(lease.renew(never()))).toMatchObject({ failure: "missing" });
    await expect(lease.revoke(never())).resolves.toBeUndefined();
  });

  it("end with the provider that was logged in for them", async () => {
    const provider = await logIn();
    await leaseOf(provider);

    await provider.close();

    await eventually(async () => (await leaseIds()).length === 0);
    expect(await userNames()).toEqual([]);
  });

  it("end with a provider whose token was given to it, and the token lives on", async () => {
    const token = await server.tokenWith(POLICY);
    const { provider } = await openWithToken(server.url, token);
    opened.push(provider);
    await leaseOf(provider);

    await provider.close();

    expect(await leaseIds()).toEqual([]);
    const lookup = await server.api("GET", "auth/token/lookup-self", undefined, { "X-Vault-Token": token });
    expect(lookup.status).toBe(200);
  });

  it("keep the login alive that they hang on", async () => {
    const clock = new VirtualClock();
    const provider = await logIn(clock);
    await leaseOf(provider);
    expect(await loginRenewals()).toEqual([]);

    await clock.advance((HOUR * 2) / 3);

    await eventually(async () => (await loginRenewals()).length === 1);
  });

  it("are refused where a policy does not allow them", async () => {
    const { provider } = await openWithToken(server.url, await server.tokenWith(POLICY));
    opened.push(provider);

    expect(await settled(read(provider, ref("aws/creds/other")))).toMatchObject({
      failure: "denied",
      hint: expect.stringContaining('path "aws/creds/other" { capabilities = ["read"] }'),
    });
  });
});

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("waited 60 s in vain");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

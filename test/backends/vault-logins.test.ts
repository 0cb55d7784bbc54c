/** Every way to log in that the binary has by itself, on a real Vault (or OpenBao), and what becomes of the tokens. */
import { generateKeyPairSync, sign } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { VaultProvider } from "../../providers/vault/provider.ts";
import { describeBackend } from "../helpers/backends.ts";
import { until } from "../helpers/server-process.ts";
import { ROOT_TOKEN, VaultServer } from "../helpers/vault-server.ts";
import { never, printed, read, revealed, settled } from "../providers/contract.ts";
import { documentOf, openVault, openWithToken, ref } from "../providers/vault/harness.ts";

const READ_KEY = 'path "secret/data/mcp/*" { capabilities = ["read"] }';
const KEY = ref("secret/mcp/key");

describeBackend("logins at Vault", ["vault"], () => {
  let server: VaultServer;
  let roleId: string;
  const opened: VaultProvider[] = [];

  beforeAll(async () => {
    server = await VaultServer.start();
    await server.must("POST", "secret/data/mcp/key", { data: { value: "canary-key" } });
    await server.must("POST", "sys/policies/acl/reader", { policy: READ_KEY });
    for (const method of ["approle", "userpass", "jwt"]) {
      await server.must("POST", `sys/auth/${method}`, { type: method });
    }
    await server.must("POST", "auth/approle/role/mcp", { token_policies: "reader", token_ttl: "1h" });
    roleId = (await server.must("GET", "auth/approle/role/mcp/role-id")).data.role_id;
  });
  afterEach(async () => {
    for (const provider of opened.splice(0)) await provider.close();
  });
  afterAll(() => server.stop());

  const open = async (auth: object, refs: Readonly<Record<string, string>> = {}) => {
    const { provider } = await openVault({ address: server.url, auth }, { refs });
    opened.push(provider);
    return provider;
  };
  const newSecretId = async (headers = {}) =>
    server.must("POST", "auth/approle/role/mcp/secret-id", {}, headers);
  const tokens = async () => (await server.must("LIST", "auth/token/accessors")).data.keys.length as number;
  const approle = async (secretId: string, more: object = {}) =>
    open({ method: "approle", roleId, secretId: "env:SECRET_ID", ...more }, { "env:SECRET_ID": secretId });
  const expectKey = async (provider: VaultProvider) =>
    expect(revealed(await read(provider, KEY))).toBe(documentOf("canary-key"));

  it("logs in by approle, once for many, and revokes its token at the end", async () => {
    const provider = await approle((await newSecretId()).data.secret_id);
    const before = await tokens();

    await Promise.all(Array.from({ length: 5 }, () => expectKey(provider)));

    expect(await tokens()).toBe(before + 1);
    await provider.close();
    // The server goes on with it also where it was waited for no longer.
    await until("its token is revoked", async () => (await tokens()) === before);
  });

  it("says that a secret-id is no good", async () => {
    const provider = await approle("canary-wrong-secret-id");

    const refusal = await settled(read(provider, KEY));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(
        /^the login by approle at auth\/approle\/login was refused \((400|500)\)$/,
      ),
    });
    expect(printed(refusal)).not.toContain("canary");
  });

  it("unwraps a wrapped secret-id once, and goes on logging in with it", async () => {
    const { wrap_info } = await newSecretId({ "X-Vault-Wrap-TTL": "60s" });

    await expectKey(await approle(wrap_info.token, { wrapped: true }));
    await expectKey(await approle(wrap_info.token, { wrapped: true }));
  });

  it("calls a wrapped secret-id that somebody else has unwrapped a security event", async () => {
    const { wrap_info } = await newSecretId({ "X-Vault-Wrap-TTL": "60s" });
    await server.must("POST", "sys/wrapping/unwrap", { token: wrap_info.token });

    const refusal = await settled(read(await approle(wrap_info.token, { wrapped: true }), KEY));

    expect(refusal).toMatchObject({ failure: "denied", reason: expect.stringContaining("security event") });
    expect(printed(refusal)).not.toContain(wrap_info.token);
  });

  it("does not unwrap what somebody else has wrapped", async () => {
    const { wrap_info } = await server.must(
      "POST",
      "sys/wrapping/wrap",
      { secret_id: "canary-planted" },
      { "X-Vault-Wrap-TTL": "60s" },
    );

    const refusal = await settled(read(await approle(wrap_info.token, { wrapped: true }), KEY));

    expect(refusal).toMatchObject({ failure: "denied", reason: expect.stringContaining("security event") });
    // It is still there, and says so to who asks with it.
    expect((await server.api("POST", "sys/wrapping/lookup", { token: wrap_info.token })).status).toBe(200);
  });

  it("logs in by user name and password", async () => {
    await server.must("POST", "auth/userpass/users/alice", {
      password: "canary-pw",
      token_policies: "reader",
    });
    const auth = { method: "userpass", username: "alice", password: "env:PASSWORD" };

    await expectKey(await open(auth, { "env:PASSWORD": "canary-pw" }));
    const refusal = await settled(read(await open(auth, { "env:PASSWORD": "canary-wrong" }), KEY));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(
        /^the login by userpass at auth\/userpass\/login\/alice was refused \((400|500)\)$/,
      ),
    });
    expect(printed(refusal)).not.toContain("canary");
  });

  it("logs in with a JWT, from a ref or from a file", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    await server.must("POST", "auth/jwt/config", {
      jwt_validation_pubkeys: [publicKey.export({ type: "spki", format: "pem" })],
    });
    await server.must("POST", "auth/jwt/role/ci", {
      role_type: "jwt",
      user_claim: "sub",
      bound_audiences: ["mcp-run"],
      token_policies: ["reader"],
    });
    const base64 = (text: string) => Buffer.from(text).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: "job-1", aud: "mcp-run", iat: now - 10, exp: now + 300 };
    const signed = `${base64('{"alg":"ES256"}')}.${base64(JSON.stringify(claims))}`;
    const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
    const jwt = `${signed}.${signature.toString("base64url")}`;
    const auth = { method: "jwt", role: "ci" };

    await expectKey(await open({ ...auth, token: "env:JWT" }, { "env:JWT": jwt }));
    await expectKey(await open({ ...auth, tokenPath: await server.keep("jwt", `${jwt}\n`) }));
    const refusal = await settled(
      read(await open({ ...auth, token: "env:JWT" }, { "env:JWT": `${jwt}x` }), KEY),
    );

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(/^the login by jwt at auth\/jwt\/login was refused \((400|500)\)$/),
    });
    expect(printed(refusal)).not.toContain(jwt);
  });

  it("reads the token that `vault login` has left in a file", async () => {
    const path = await server.keep("token", await server.tokenWith(READ_KEY));

    await expectKey(await open({ method: "token-file", path }));
  });

  it("names a method that is not mounted there", async () => {
    const provider = await open(
      { method: "userpass", username: "alice", password: "env:PASSWORD", mount: "elsewhere" },
      { "env:PASSWORD": "canary-pw" },
    );

    expect(await settled(read(provider, KEY))).toMatchObject({
      failure: "denied",
      reason: "the login by userpass at auth/elsewhere/login/alice was refused (403)",
      hint: expect.stringContaining("mount: under auth:"),
    });
  });

  it("logs in once more when the server has forgotten its token", async () => {
    const provider = await approle((await newSecretId()).data.secret_id);
    await expectKey(provider);
    await revokeAllButRoot();

    await expectKey(provider);
  });

  it("says that a token which was given to it has ended, and never revokes a good one", async () => {
    const token = await server.tokenWith(READ_KEY);
    const first = await openWithToken(server.url, token);
    await expectKey(first.provider);
    await first.provider.close();
    const { provider } = await openWithToken(server.url, token);
    opened.push(provider);
    await expectKey(provider);
    await revokeAllButRoot();

    const refusal = await settled(read(provider, KEY));

    expect(refusal).toMatchObject({
      failure: "denied",
      reason: expect.stringMatching(
        /^the token in env:TOKEN is not valid at http:\/\/127\.0\.0\.1:\d+ \(403\)$/,
      ),
    });
    expect(printed(refusal)).not.toContain(token);
  });

  it("tells a policy that does not allow it from a token that has ended", async () => {
    const { provider } = await openWithToken(server.url, await server.tokenWith(READ_KEY));
    opened.push(provider);
    const asked = [KEY, ref("secret/other/key"), ref("nowhere/key")] as const;

    const answer = await provider.fetch(asked, never());

    expect(revealed(answer.get(asked[0]))).toBe(documentOf("canary-key"));
    expect(answer.get(asked[1])).toMatchObject({
      failure: "denied",
      reason: "permission denied (403) to read secret/data/other/key",
      hint: expect.stringContaining('path "secret/data/other/key" { capabilities = ["read"] }'),
    });
    expect(answer.get(asked[2])).toMatchObject({ failure: "denied" });
  });

  it("reads in a namespace, and says of one that it is not there", async ({ skip }) => {
    skip((await server.api("POST", "sys/namespaces/team-a")).status !== 200, "this server has no namespaces");
    const inTeam = { "X-Vault-Namespace": "team-a" };
    await server.must("POST", "sys/mounts/kv1", { type: "kv" }, inTeam);
    await server.must("POST", "kv1/key", { value: "canary-team" }, inTeam);
    const open = (namespace: string) => openWithToken(server.url, ROOT_TOKEN, { namespace });
    const [{ provider }, { provider: stranger }] = [await open("team-a"), await open("team-b")];
    opened.push(provider, stranger);

    expect(revealed(await read(provider, ref("kv1/key")))).toBe(documentOf("canary-team"));
    expect(await settled(read(stranger, ref("kv1/key")))).toMatchObject({
      failure: "invalid",
      reason: "there is no such namespace (404)",
    });
  });

  it("says that the server is sealed", async () => {
    const sealed = await VaultServer.start();
    await sealed.must("POST", "sys/seal");
    const { provider } = await openWithToken(sealed.url, ROOT_TOKEN);

    const refusal = await settled(read(provider, KEY));

    expect(refusal).toMatchObject({
      failure: "unavailable",
      reason: `${sealed.url} is sealed (503)`,
      hint: expect.stringContaining("unseal"),
    });
    await provider.close();
    await sealed.stop();
  });

  async function revokeAllButRoot(): Promise<void> {
    const { data } = await server.must("LIST", "auth/token/accessors");
    for (const accessor of data.keys) {
      const found = await server.api("POST", "auth/token/lookup-accessor", { accessor });
      if (found.status !== 200 || found.json.data.policies.includes("root")) continue;
      await server.must("POST", "auth/token/revoke-accessor", { accessor });
    }
  }
});

/** The credentials of @azure/identity against a login on loopback: what is sent, and what a refusal says. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { entraSource } from "../../../providers/azure/login/entra-source.ts";
import type { HttpRequest } from "../../../providers/azure/transport.ts";
import { systemClock } from "../../../src/clock.ts";
import type { ProviderError } from "../../../src/errors.ts";
import { privateCa } from "../../helpers/private-ca.ts";
import type { TestContextOverrides } from "../../helpers/provider-context.ts";
import { printed, read, revealed } from "../contract.ts";
import { entraRefusal, FakeEntra } from "./fake-entra.ts";
import { AzureRoom, never } from "./open.ts";

const TENANT = "contoso.example.com";
const CLIENT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
const CLIENT_SECRET = {
  type: "client-secret",
  tenantId: TENANT,
  clientId: CLIENT,
  clientSecret: "keychain:azure",
};

let room: AzureRoom;
let entra: FakeEntra;

beforeEach(async () => {
  room = await AzureRoom.start();
  entra = await FakeEntra.start(room.vault.tls);
  room.vault.add("key", { value: "canary-value" });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await room.stop();
  await entra.stop();
});

const open = (credential: unknown, overrides: TestContextOverrides = {}) =>
  room.openWith(
    { credential, authorityHost: entra.url },
    { refs: { "keychain:azure": "canary-client-secret" }, ...overrides },
  );

async function refusalOf(credential: unknown, overrides: TestContextOverrides = {}): Promise<ProviderError> {
  const { provider } = await open(credential, overrides);
  const answer = await read(provider, { path: "key" });
  expect(printed(answer)).not.toContain("canary");
  return answer as ProviderError;
}

describe("a client with a secret", () => {
  it("logs in once for all that is read", async () => {
    const { provider } = await open(CLIENT_SECRET);

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
    await provider.fetch([{ path: "key" }, { path: "key" }], never());

    expect(entra.forms).toHaveLength(1);
    expect(Object.fromEntries(entra.forms[0] ?? [])).toMatchObject({
      grant_type: "client_credentials",
      client_id: CLIENT,
      client_secret: "canary-client-secret",
      scope: "https://vault.azure.net/.default",
    });
  });

  it("says what it is to whoever counts refusals, but not its secret", async () => {
    const { context } = await open(CLIENT_SECRET);

    expect(context.credentials).toEqual([`client-secret ${TENANT} ${CLIENT}`]);
  });

  it.each([
    [401, "invalid_client", 7000215, "the client secret is wrong", "storing the secret's value"],
    [401, "invalid_client", 7000222, "the client secret has expired", "az ad app credential reset"],
    [400, "unauthorized_client", 700016, "the tenant has no such application", "clientId: and tenantId:"],
    [400, "invalid_request", 90002, "there is no such tenant", "tenantId:"],
    [400, "invalid_grant", 53003, "a conditional access policy refuses the login", "policies"],
    [
      400,
      "invalid_request",
      99999,
      "the login by client-secret was refused",
      "credential: in the provider's settings",
    ],
  ])("is refused by its code alone: %d %s %d", async (status, error, code, state, hint) => {
    entra.answer = () => entraRefusal(status, error, code);

    const refusal = await refusalOf(CLIENT_SECRET);

    expect(refusal).toMatchObject({ failure: "denied", reason: `${state} (${status} AADSTS${code})` });
    expect(refusal.hint).toContain(hint);
    expect(room.vault.requests.filter(({ isAuthorized }) => isAuthorized)).toEqual([]);
  });

  it("is asked about again when the login service has a failure of its own", async () => {
    let asked = 0;
    entra.answer = () => {
      asked++;
      return { status: 503, body: {} };
    };

    expect(await refusalOf(CLIENT_SECRET)).toMatchObject({
      failure: "unavailable",
      reason: "the login service has a failure of its own (503)",
    });
    expect(asked).toBeGreaterThan(1);
  });

  it.each([
    ["a page", { status: 200, body: "<html>canary-page</html>" }],
    ["nothing", { status: 200, body: "" }],
    ["something without a token", { status: 200, body: { canary: "canary" } }],
  ])("gets no token from a login that answers %s", async (_what, answer) => {
    entra.answer = () => answer;

    expect(["invalid", "denied"]).toContain((await refusalOf(CLIENT_SECRET)).failure);
  });

  it("says which host is not there", async () => {
    const port = new URL(entra.url).port;
    await entra.stop();

    expect(await refusalOf(CLIENT_SECRET)).toMatchObject({
      failure: "unavailable",
      reason: `127.0.0.1:${port} takes no connection (ECONNREFUSED)`,
    });
  });

  it("is not sent to a login that nobody vouches for", async () => {
    const stranger = await AzureRoom.start();
    const theirs = await FakeEntra.start(stranger.vault.tls);

    const { provider } = await room.openWith(
      { credential: CLIENT_SECRET, authorityHost: theirs.url },
      { refs: { "keychain:azure": "canary-client-secret" } },
    );
    const answer = await read(provider, { path: "key" });

    const { forms } = theirs;
    await theirs.stop();
    await stranger.stop();
    expect(answer).toMatchObject({
      failure: "unavailable",
      reason: expect.stringContaining("is not trusted"),
    });
    expect(forms).toEqual([]);
  });

  it("rejects with the reason when it is aborted while the login is silent", async () => {
    const abort = new AbortController();
    const reason = new Error("no longer wanted");
    entra.answer = () => {
      abort.abort(reason);
      return { status: 503, body: {} };
    };
    const { provider } = await open(CLIENT_SECRET);

    await expect(provider.fetch([{ path: "key" }], abort.signal)).rejects.toBe(reason);
  });
});

describe("the environment", () => {
  const ENV = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_CLIENT_SECRET: "canary-env-secret" };

  it("describes a client, and the server does not inherit it", async () => {
    const { provider, context } = await open("environment", { env: ENV });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    expect(entra.forms[0]?.get("client_secret")).toBe("canary-env-secret");
    expect([...context.env.namesRead]).toEqual(expect.arrayContaining(Object.keys(ENV)));
  });

  it("may describe a client with a certificate", async () => {
    const file = join(room.folder, "client.pem");
    const pair = await generate([{ name: "commonName", value: "client" }], { algorithm: "sha256" });
    writeFileSync(file, pair.private + pair.cert);
    const { AZURE_CLIENT_SECRET: _secret, ...rest } = ENV;
    const { provider, context } = await open("environment", {
      env: { ...rest, AZURE_CLIENT_CERTIFICATE_PATH: file },
    });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    expect(entra.forms[0]?.get("client_assertion")).toMatch(/^ey/);
    expect(context.env.namesRead).toContain("AZURE_CLIENT_CERTIFICATE_PATH");
  });

  it("with a certificate that is none is an error", async () => {
    const file = join(room.folder, "client.pem");
    writeFileSync(file, "-----BEGIN canary-----");
    const { AZURE_CLIENT_SECRET: _secret, ...rest } = ENV;

    const refusal = await refusalOf("environment", { env: { ...rest, AZURE_CLIENT_CERTIFICATE_PATH: file } });

    expect(refusal).toMatchObject({
      failure: "invalid",
      reason: "the login by client certificate can't be made from what it was given",
    });
  });

  it("that describes none is an error that names the variables", async () => {
    await expect(open("environment", { env: { AZURE_TENANT_ID: TENANT } })).rejects.toMatchObject({
      failure: "denied",
      hint: "setting AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET",
    });
  });
});

describe("a workload identity", () => {
  const tokenFile = () => join(room.folder, "federated");

  it("shows the federated token of its file", async () => {
    writeFileSync(tokenFile(), "canary-federated-token\n");
    const env = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_FEDERATED_TOKEN_FILE: tokenFile() };
    const { provider } = await open("workload-identity", { env });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    expect(entra.forms[0]?.get("client_assertion")).toBe("canary-federated-token");
  });

  it("may be described in the profile, below the home directory too", async () => {
    writeFileSync(tokenFile(), "canary-federated-token");
    const credential = {
      type: "workload-identity",
      tenantId: TENANT,
      clientId: CLIENT,
      tokenFile: "~/federated",
    };
    const { provider } = await open(credential, { env: { HOME: room.folder, USERPROFILE: room.folder } });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
  });

  it.each([70021, 700211, 700212, 700213])(
    "that the application does not trust is refused: %d",
    async (code) => {
      writeFileSync(tokenFile(), "canary-federated-token");
      entra.answer = () => entraRefusal(401, "invalid_client", code);
      const credential = {
        type: "workload-identity",
        tenantId: TENANT,
        clientId: CLIENT,
        tokenFile: tokenFile(),
      };

      expect(await refusalOf(credential)).toMatchObject({
        reason: expect.stringContaining("the application does not trust this token"),
        hint: expect.stringContaining("federated credential"),
      });
    },
  );

  it("without its file is an error", async () => {
    const credential = {
      type: "workload-identity",
      tenantId: TENANT,
      clientId: CLIENT,
      tokenFile: tokenFile(),
    };

    await expect(open(credential)).rejects.toMatchObject({
      failure: "invalid",
      reason: "the file of tokenFile can't be read (ENOENT)",
    });
    await expect(open("workload-identity")).rejects.toMatchObject({
      hint: expect.stringContaining("AZURE_FEDERATED_TOKEN_FILE"),
    });
  });
});

describe("a managed identity", () => {
  // The library reads where it is from the process itself, once.
  let platform: FakeEntra;
  const env = { IDENTITY_ENDPOINT: "", IDENTITY_HEADER: "canary-identity-header" };

  beforeAll(async () => {
    platform = await FakeEntra.start(await privateCa());
    env.IDENTITY_ENDPOINT = platform.identityEndpoint;
  });

  beforeEach(() => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    platform.identityRequests.length = 0;
  });

  afterAll(() => platform.stop());

  it("is asked for where the platform says, and the server does not inherit that", async () => {
    const { provider, context } = await open({ type: "managed-identity", clientId: CLIENT }, { env });

    expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");

    const [asked] = platform.identityRequests;
    expect(asked?.header).toBe("canary-identity-header");
    expect(asked?.query.get("resource")).toBe("https://vault.azure.net");
    expect(asked?.query.get("client_id")).toBe(CLIENT);
    expect([...context.env.namesRead]).toEqual(expect.arrayContaining(Object.keys(env)));
  });

  it("is asked for by one provider after the other", async () => {
    for (const clientId of ["first", "second"]) {
      const { provider } = await open({ type: "managed-identity", clientId }, { env });
      expect(revealed(await read(provider, { path: "key" }))).toBe("canary-value");
      await provider.close();
    }

    expect(platform.identityRequests.map(({ query }) => query.get("client_id"))).toEqual(["first", "second"]);
  });

  it("that is not there is refused with the platform's code", async () => {
    const { answer } = platform;
    platform.answer = () => ({
      status: 400,
      body: { error: "invalid_request", error_description: "canary: Identity not found" },
    });

    const refusal = await refusalOf({ type: "managed-identity", clientId: "absent" }, { env });

    platform.answer = answer;
    expect(refusal).toMatchObject({
      failure: "denied",
      reason: "the login by managed-identity was refused (400 invalid_request)",
    });
  });
});

describe("a login over plain http", () => {
  it.each(["http://login.example.com/token", "http://8.8.8.8/token", "http://172.32.0.1/token"])(
    "is refused before anything is sent: %s",
    async (url) => {
      const source = entraSource(
        { clock: systemClock, ca: undefined, proxy: undefined, what: "x", isLocal: true },
        async (sdk) => ({
          async getToken() {
            await sdk.httpClient.sendRequest({
              url,
              headers: { toJSON: () => ({}) },
            } as unknown as HttpRequest);
            return null;
          },
        }),
      );
      const request = { scope: "s", tenantId: undefined, claims: undefined, signal: never() };

      await expect(source.token(request)).rejects.toMatchObject({
        failure: "denied",
        reason: `a login at ${new URL(url).origin} would not be encrypted`,
      });
      source.close();
    },
  );
});

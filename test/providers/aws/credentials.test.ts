import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import type { AwsSettings } from "../../../providers/aws/settings.ts";
import type { ProviderError } from "../../../src/errors.ts";
import type { RotatableStore } from "../../../src/secrets/provider.ts";
import { FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { answers, HostileServer, json, silent } from "../../helpers/hostile-server.ts";
import { type TestContextOverrides, testContext } from "../../helpers/provider-context.ts";
import { printed, read } from "../contract.ts";
import { CANARY_KEYS, openAws, refTo } from "./harness.ts";

let fake: FakeSecretsManager;
let home: string;
const opened: RotatableStore<AwsRef>[] = [];
const servers: HostileServer[] = [];

/** The SDK reads the environment of the process, the provider that of its context: here they are the same. */
let env: Record<string, string>;

const open = async (settings: AwsSettings, overrides: TestContextOverrides = {}) => {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const store = await openAws({ endpoint: fake.url, ...settings }, { env, ...overrides });
  opened.push(store);
  return store;
};
const awsFile = (name: "config" | "credentials", text: string) => {
  mkdirSync(join(home, ".aws"), { recursive: true });
  writeFileSync(join(home, ".aws", name), text);
  return join(home, ".aws", name);
};
/** Which access key the last read was signed with, or why there was no read. */
const signedBy = async (store: RotatableStore<AwsRef>) => {
  const answer = await read(store, refTo("key"));
  if (answer instanceof Error) throw answer;
  return fake.requests.at(-1)?.accessKeyId;
};
const failureOf = async (store: RotatableStore<AwsRef>) => {
  const error = (await read(store, refTo("key"))) as ProviderError;
  expect(printed(error)).not.toContain("canary");
  return { failure: error.failure, reason: error.reason, hint: error.hint };
};

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
});

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mcp-run-aws-"));
  env = { HOME: home, AWS_EC2_METADATA_DISABLED: "true" };
  for (const name of Object.keys(process.env)) if (/^AWS_(?!SDK_JS)/.test(name)) vi.stubEnv(name, undefined);
  fake.add("key", "canary-value");
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  for (const server of servers.splice(0)) await server.stop();
  vi.unstubAllEnvs();
  fake.reset();
  rmSync(home, { recursive: true });
});

afterAll(() => fake.stop());

describe("the credential", () => {
  it("is that of the environment, and no program inherits what holds one", async () => {
    env = { ...env, ...CANARY_KEYS };
    const context = testContext({ env });

    expect(await signedBy(await open({}, { env }))).toBe(CANARY_KEYS.AWS_ACCESS_KEY_ID);

    const { awsKind } = await import("../../../providers/aws.ts");
    opened.push((await awsKind.open({ region: "eu-west-1" }, context)) as RotatableStore<AwsRef>);
    expect([...context.env.namesRead].sort()).toEqual([
      "AWS_ACCESS_KEY_ID",
      "AWS_CONFIG_FILE",
      "AWS_CONTAINER_AUTHORIZATION_TOKEN",
      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
      "AWS_CONTAINER_CREDENTIALS_FULL_URI",
      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
      "AWS_PROFILE",
      "AWS_ROLE_ARN",
      "AWS_ROLE_SESSION_NAME",
      "AWS_SECRET_ACCESS_KEY",
      "AWS_SECURITY_TOKEN",
      "AWS_SESSION_TOKEN",
      "AWS_SHARED_CREDENTIALS_FILE",
      "AWS_WEB_IDENTITY_TOKEN_FILE",
    ]);
  });

  it("is that of the settings, where each key is a ref", async () => {
    env = { ...env, ...CANARY_KEYS };
    const refs = { "keychain:aws-key": "canary-own-key", "keychain:aws-secret": "canary-own-secret" };

    const store = await open(
      { credentials: { accessKeyId: "keychain:aws-key", secretAccessKey: "keychain:aws-secret" } },
      { refs },
    );

    expect(await signedBy(store)).toBe("canary-own-key");
    expect(printed(store)).not.toContain("canary");
  });

  it("is that of the profile in the settings, before that of the environment", async () => {
    env = { ...env, ...CANARY_KEYS };
    awsFile(
      "credentials",
      "[prod]\naws_access_key_id = canary-prod-key\naws_secret_access_key = canary-prod-secret\n",
    );

    expect(await signedBy(await open({ profile: "prod" }))).toBe("canary-prod-key");
  });

  it("is that of AWS_PROFILE, or of the profile called default", async () => {
    awsFile(
      "credentials",
      "[default]\naws_access_key_id = canary-default-key\naws_secret_access_key = s\n[dev]\naws_access_key_id = canary-dev-key\naws_secret_access_key = s\n",
    );
    expect(await signedBy(await open({}))).toBe("canary-default-key");

    env = { ...env, AWS_PROFILE: "dev" };
    expect(await signedBy(await open({}))).toBe("canary-dev-key");
  });

  it("is read anew from the files by each provider, so that a replaced key is used", async () => {
    const keys = (key: string) => `[default]\naws_access_key_id = ${key}\naws_secret_access_key = s\n`;
    awsFile("credentials", keys("canary-old-key"));
    expect(await signedBy(await open({}))).toBe("canary-old-key");

    awsFile("credentials", keys("canary-new-key"));

    expect(await signedBy(await open({}))).toBe("canary-new-key");
  });

  it("is never another one than that of the profile that was named", async () => {
    env = { ...env, ...CANARY_KEYS };

    expect(await failureOf(await open({ profile: "absent" }))).toEqual({
      failure: "denied",
      reason: "the shared files of AWS give no credentials for profile absent",
      hint: "aws configure list --profile absent",
    });
    expect(fake.requests).toEqual([]);
  });

  it("that nobody has is said, with the way to one", async () => {
    expect(await failureOf(await open({}))).toEqual({
      failure: "denied",
      reason: "no AWS credentials were found",
      hint: expect.stringContaining("profile: NAME"),
    });
  });

  it("that a program of the profile gives is used; what it says when it fails is not repeated", async () => {
    const program = join(home, "give-keys");
    writeFileSync(
      program,
      '#!/bin/sh\necho \'{"Version":1,"AccessKeyId":"canary-program-key","SecretAccessKey":"s","SessionToken":"t"}\'\n',
      { mode: 0o700 },
    );
    awsFile(
      "config",
      `[profile good]\ncredential_process = ${program}\n[profile bad]\ncredential_process = sh -c "echo canary-said >&2; exit 3"\n`,
    );

    expect(await signedBy(await open({ profile: "good" }))).toBe("canary-program-key");
    expect(await failureOf(await open({ profile: "bad" }))).toMatchObject({
      failure: "denied",
      reason: "the shared files of AWS give no credentials for profile bad",
    });
  });

  it("of a role with a one-time code can't be had here", async () => {
    awsFile(
      "config",
      "[profile mfa]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = default\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n",
    );
    awsFile("credentials", "[default]\naws_access_key_id = k\naws_secret_access_key = s\n");

    expect(await failureOf(await open({ profile: "mfa" }))).toMatchObject({
      failure: "denied",
      reason: "profile mfa asks for a one-time code, which nobody can type here",
    });
  });

  it("is another one when a file of it has changed", async () => {
    const file = awsFile("credentials", "[default]\n");
    const credentialsOf = async () => {
      const context = testContext({ env });
      const { awsKind } = await import("../../../providers/aws.ts");
      opened.push(
        (await awsKind.open({ region: "eu-west-1", profile: "p" }, context)) as RotatableStore<AwsRef>,
      );
      return context.credentials;
    };
    const before = await credentialsOf();

    expect(await credentialsOf()).toEqual(before);
    utimesSync(file, 1, 1);
    expect(await credentialsOf()).not.toEqual(before);
    expect(before).toContain("profile p");
  });
});

describe("an assumed role", () => {
  const role = "arn:aws:iam::123456789012:role/mcp/reader";

  it("is assumed once, with the credential that there is, and signs the requests", async () => {
    env = { ...env, ...CANARY_KEYS };
    const store = await open({
      assumeRole: {
        arn: role,
        externalId: "ext-1",
        sessionName: "alice",
        durationSeconds: 900,
        endpoint: fake.url,
      },
    });

    expect(await signedBy(store)).toBe("canary-role-key");
    expect(await signedBy(store)).toBe("canary-role-key");

    const [first, ...others] = fake.requests;
    expect(first).toMatchObject({
      operation: "AssumeRole",
      accessKeyId: CANARY_KEYS.AWS_ACCESS_KEY_ID,
      input: { RoleArn: role, ExternalId: "ext-1", RoleSessionName: "alice", DurationSeconds: "900" },
    });
    expect(others.map(({ operation }) => operation)).toEqual(["GetSecretValue", "GetSecretValue"]);
  });

  it("that is denied is said with the service's code", async () => {
    env = { ...env, ...CANARY_KEYS };
    fake.instead = ({ operation }) =>
      operation === "AssumeRole"
        ? {
            status: 403,
            headers: { "content-type": "text/xml" },
            body: "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: canary-user is not authorized to perform: sts:AssumeRole</Message></Error><RequestId>r-1</RequestId></ErrorResponse>",
          }
        : undefined;

    const failure = await failureOf(await open({ assumeRole: { arn: role, endpoint: fake.url } }));

    expect(failure).toMatchObject({
      failure: "denied",
      hint: "an IAM policy that allows sts:AssumeRole on it",
    });
    expect(failure.reason).toMatch(/^sts:AssumeRole is denied \(AccessDenied, HTTP 403/);
  });

  it("of a web identity is assumed with its token file", async () => {
    const file = join(home, "token");
    writeFileSync(file, "canary-web-token");
    env = {
      ...env,
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: role,
      AWS_ENDPOINT_URL_STS: fake.url,
    };

    expect(await signedBy(await open({}))).toBe("canary-role-key");

    expect(fake.requests[0]).toMatchObject({
      operation: "AssumeRoleWithWebIdentity",
      input: { WebIdentityToken: "canary-web-token" },
    });
  });
});

describe("a login to IAM Identity Center", () => {
  const role = "[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Reader\n";
  const session =
    "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://example.awsapps.com/start\n";
  /** What `aws sso login` leaves behind. */
  const logIn = (expiresAt: string) => {
    const cache = join(home, ".aws", "sso", "cache");
    mkdirSync(cache, { recursive: true });
    const login = { accessToken: "canary-sso-token", expiresAt, region: "eu-west-1" };
    writeFileSync(
      join(cache, `${createHash("sha1").update("corp").digest("hex")}.json`),
      JSON.stringify(login),
    );
  };

  it("gives the keys of its role", async () => {
    const portal = await HostileServer.start({
      behave: () =>
        answers(
          json({
            roleCredentials: {
              accessKeyId: "canary-sso-key",
              secretAccessKey: "canary-sso-secret",
              sessionToken: "canary-sso-session",
              expiration: 4_070_908_800_000,
            },
          }),
        ),
    });
    servers.push(portal);
    awsFile("config", role + session);
    logIn("2099-01-01T00:00:00Z");
    env = { ...env, AWS_ENDPOINT_URL_SSO: portal.url };

    expect(await signedBy(await open({ profile: "sso" }))).toBe("canary-sso-key");

    expect(portal.requests[0]?.path).toContain("/federation/credentials");
    expect(portal.requests[0]?.headers["x-amz-sso_bearer_token"]).toBe("canary-sso-token");
  });

  it.each(["none", "2020-01-01T00:00:00Z"])(
    "that is not valid names the way to a new one: %s",
    async (expiresAt) => {
      awsFile("config", role + session);
      if (expiresAt !== "none") logIn(expiresAt);

      expect(await failureOf(await open({ profile: "sso" }))).toEqual({
        failure: "denied",
        reason: "there is no valid login to IAM Identity Center",
        hint: "aws sso login --profile sso",
      });
    },
  );
});

describe("the credential of a machine", () => {
  const keys = (accessKeyId: string) =>
    json({
      AccessKeyId: accessKeyId,
      SecretAccessKey: "canary-machine-secret",
      Token: "canary-machine-token",
      Expiration: "2099-01-01T00:00:00Z",
    });
  const listen = async (behave: HostileServer["behave"]) => {
    const server = await HostileServer.start({ behave });
    servers.push(server);
    return server;
  };

  it("comes from the metadata service of an instance, by its second version", async () => {
    const metadata = await listen(({ method, path }) => {
      if (method === "PUT") return answers({ body: "canary-metadata-token" });
      return path.endsWith("/security-credentials/")
        ? answers({ body: "role" })
        : answers(keys("canary-instance-key"));
    });
    env = { HOME: home, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };

    const from = async () => signedBy(await open({})).catch((error: ProviderError) => error.reason);
    let signed = await from();
    // Each answer has to be there within a second, and a machine may be busy.
    for (let tries = 1; signed === "no AWS credentials were found" && tries < 10; tries++) {
      metadata.requests.length = 0;
      signed = await from();
    }

    expect(signed).toBe("canary-instance-key");
    expect(metadata.requests.map(({ method }) => method)).toEqual(["PUT", "GET", "GET"]);
  });

  it("costs little where the metadata service is silent, and nothing where it is switched off", async () => {
    const metadata = await listen(() => silent);
    env = { HOME: home, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
    const startedAt = performance.now();

    expect((await failureOf(await open({}))).reason).toBe("no AWS credentials were found");

    expect(performance.now() - startedAt).toBeLessThan(30_000);
    expect(metadata.requests).toHaveLength(1);

    env = { ...env, AWS_EC2_METADATA_DISABLED: "true" };
    expect((await failureOf(await open({}))).reason).toBe("no AWS credentials were found");
    expect(metadata.requests).toHaveLength(1);
  });

  it("comes from the endpoint of a container", async () => {
    const endpoint = await listen(() => answers(keys("canary-container-key")));
    env = {
      ...env,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint.url}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "canary-container-token",
    };

    expect(await signedBy(await open({}))).toBe("canary-container-key");
    expect(endpoint.requests[0]?.headers.authorization).toBe("canary-container-token");
  });
});

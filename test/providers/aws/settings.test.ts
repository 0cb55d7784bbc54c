import { describe, expect, it, vi } from "vitest";
import { awsKind } from "../../../providers/aws.ts";
import { CredentialTrail } from "../../../src/secrets/credential-trail.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { read, settled } from "../contract.ts";
import { CANARY_KEYS, openAws, refTo } from "./harness.ts";

const problemOf = (settings: object) => awsKind.configSchema.safeParse(settings).error?.issues[0]?.message;

describe("the settings", () => {
  it.each([
    {},
    { region: "eu-west-1", profile: "prod" },
    { region: "us-gov-west-1", endpoint: "https://vpce-1.secretsmanager.us-gov-west-1.vpce.amazonaws.com" },
    { endpoint: "http://127.0.0.1:4566" },
    { endpoint: "http://[::1]:4566" },
    { credentials: { accessKeyId: "env:A", secretAccessKey: "keychain:b" }, caCert: "~/ca.pem" },
    { assumeRole: { arn: "arn:aws:iam::123456789012:role/path/x", durationSeconds: 900 } },
  ])("may be %j", (settings) => {
    expect(problemOf(settings)).toBeUndefined();
  });

  it.each([
    [{ region: "Ireland" }, "a region looks like eu-west-1"],
    [{ region: "eu-west-1.evil.example/" }, "a region looks like eu-west-1"],
    [{ endpoint: "http://secrets.example" }, /^an endpoint is https:/],
    [{ endpoint: "https://user:pass@secrets.example" }, /^an endpoint is https:/],
    [{ endpoint: "secrets.example" }, /^an endpoint is https:/],
    [{ assumeRole: { arn: "admin" } }, "a role looks like arn:aws:iam::123456789012:role/NAME"],
    [{ assumeRole: { arn: "arn:aws:iam::123456789012:role/x", durationSeconds: 60 } }, "at least 900 s"],
    [{ profile: "a", credentials: { accessKeyId: "env:A", secretAccessKey: "env:B" } }, /exclude each other/],
    [{ caCert: "ca.pem" }, "the path must be absolute, or begin with ~/"],
    [{ profile: "a\nb" }, "this can't be empty or hold control characters"],
  ])("may not be %j", (settings, message) => {
    expect(problemOf(settings)).toMatch(message);
  });
});

describe("a key that the settings do not know", () => {
  it.each([{ regoin: "eu-west-1" }, { assumeRole: { arn: "arn:aws:iam::123456789012:role/x", mfa: "1" } }])(
    "is an error: %j",
    (settings) => {
      expect(awsKind.configSchema.safeParse(settings).error?.issues[0]?.code).toBe("unrecognized_keys");
    },
  );
});

describe("the region", () => {
  it.each([
    [{ region: "eu-north-1" }, { AWS_REGION: "us-east-1" }, "eu-north-1"],
    [{}, { AWS_REGION: "us-east-1", AWS_DEFAULT_REGION: "us-east-2" }, "us-east-1"],
    [{}, { AWS_DEFAULT_REGION: "us-east-2" }, "us-east-2"],
  ])("of %j and %j is %s", async (settings, env, region) => {
    const context = testContext({ env: { ...CANARY_KEYS, ...env } });
    const provider = await awsKind.open(settings, context);
    const elsewhere = refTo("arn:aws:secretsmanager:xx-test-9:123456789012:secret:a");

    expect((await provider.fetch([elsewhere], new AbortController().signal)).get(elsewhere)).toMatchObject({
      reason: `the ARN is of xx-test-9, but this provider asks ${region}`,
    });
    // No credential, so a program of the user's may have it.
    expect(context.env.namesRead).not.toContain("AWS_REGION");
    await provider.close();
  });

  it("are said to be places where they come from the environment, so that no cache mixes two of them up", async () => {
    const trail = new CredentialTrail();
    const env = { ...CANARY_KEYS, AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL: "http://127.0.0.1:1" };
    const context = testContext({ env });

    const provider = await awsKind.open(awsKind.configSchema.parse({}), {
      ...context,
      env: trail.watch(context.env),
    });
    await provider.close();

    expect(trail.places).toEqual(
      expect.arrayContaining(["AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"]),
    );
    expect(trail.places).not.toContain("AWS_SECRET_ACCESS_KEY");
  });

  it("that is nowhere is said, with where to set it", async () => {
    for (const name of ["AWS_REGION", "AWS_PROFILE"]) vi.stubEnv(name, undefined);
    vi.stubEnv("AWS_CONFIG_FILE", "/nonexistent/config");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials");
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    const provider = await awsKind.open({}, testContext({ env: CANARY_KEYS }));

    expect(await settled(read(provider, refTo("key")))).toMatchObject({
      failure: "invalid",
      reason: "no region is set",
      hint: "region: eu-west-1 in the provider's settings, or AWS_REGION",
    });
    vi.unstubAllEnvs();
    await provider.close();
  });

  it.each([
    [{ AWS_REGION: "x/../y" }, "AWS_REGION holds no region"],
    [{ AWS_ENDPOINT_URL: "http://evil.example" }, "AWS_ENDPOINT_URL is neither https:// nor on this machine"],
    [
      { AWS_ENDPOINT_URL_SECRETS_MANAGER: "ftp://x" },
      "AWS_ENDPOINT_URL is neither https:// nor on this machine",
    ],
  ])("and the endpoint of the environment are checked: %j", async (env, reason) => {
    const settings = "AWS_REGION" in env ? {} : { region: "eu-west-1" };

    expect(
      await settled(awsKind.open(settings, testContext({ env: { ...CANARY_KEYS, ...env } }))),
    ).toMatchObject({
      failure: "invalid",
      reason,
    });
  });

  it("that does not exist has no host, which is said", async () => {
    const store = await openAws({
      region: "xx-nowhere-1",
      endpoint: "https://secretsmanager.xx-nowhere-1.invalid",
    });

    expect(await read(store, refTo("key"))).toMatchObject({
      failure: "unavailable",
      reason: expect.stringMatching(
        /^no host answers to the name of https:\/\/secretsmanager\.xx-nowhere-1\.invalid \(E/,
      ),
      hint: expect.stringContaining("AWS_ENDPOINT_URL"),
    });
    await store.close();
  });
});

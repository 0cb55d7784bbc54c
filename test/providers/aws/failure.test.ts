import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import { ProviderError, type ProviderFailure } from "../../../src/errors.ts";
import type { RotatableStore } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { awsError, FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { printed, read, settled } from "../contract.ts";
import { openAws, refTo } from "./harness.ts";

/** What the service says may quote anything: none of it may get into an error of ours. */
const LEAK = "canary-in-the-service's-own-words";

let fake: FakeSecretsManager;
let store: RotatableStore<AwsRef>;

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
  store = await openAws({ endpoint: fake.url });
});

afterEach(() => fake.reset());

afterAll(async () => {
  await store.close();
  await fake.stop();
});

const CASES: readonly (readonly [string, string, ProviderFailure, RegExp, RegExp])[] = [
  [
    "ResourceNotFoundException",
    "can't find the specified secret.",
    "missing",
    /^there is no such secret in eu-west-1/,
    /its region/,
  ],
  [
    "ResourceNotFoundException",
    "value for staging label: AWSCURRENT",
    "missing",
    /no value under that staging label/,
    /put-secret-value/,
  ],
  [
    "ResourceNotFoundException",
    "value for VersionId: x",
    "missing",
    /no such version/,
    /list-secret-version-ids/,
  ],
  [
    "InvalidRequestException",
    "it was marked for deletion.",
    "missing",
    /scheduled for deletion/,
    /restore-secret/,
  ],
  [
    "InvalidRequestException",
    "managed by another service",
    "invalid",
    /in no state for this/,
    /describe-secret/,
  ],
  ["DecryptionFailure", "", "denied", /KMS key does not decrypt/, /kms:Decrypt/],
  ["AccessDeniedException", "Access to KMS is not allowed", "denied", /KMS key is denied/, /kms:Decrypt/],
  [
    "AccessDeniedException",
    "User: arn:aws:iam::1:user/x is not authorized to perform: secretsmanager:GetSecretValue on",
    "denied",
    /^secretsmanager:GetSecretValue is denied/,
    /IAM policy that allows secretsmanager:GetSecretValue/,
  ],
  ["AccessDeniedException", "no", "denied", /^access is denied/, /IAM policy/],
  ["ExpiredTokenException", "", "denied", /session has expired/, /new credentials/],
  ["UnrecognizedClientException", "", "denied", /does not know the access key/, /a valid access key/],
  [
    "InvalidSignatureException",
    "The request signature we calculated does not match",
    "denied",
    /secret access key is not/,
    /both keys/,
  ],
  [
    "InvalidSignatureException",
    "Signature expired: 2026 is now earlier",
    "denied",
    /clock of this machine/,
    /setting the clock/,
  ],
  ["IncompleteSignature", "", "denied", /not signed/, /credential/],
  ["OptInRequired", "", "denied", /not authorized/, /new credentials/],
  ["InvalidParameterException", "", "invalid", /does not accept the request/, /./],
  ["ValidationException", "", "invalid", /does not accept the request/, /./],
  ["LimitExceededException", "", "unavailable", /quota/, /quotas/],
  ["ThrottlingException", "", "unavailable", /throttling/, /again later/],
  ["SomethingNewException", "", "invalid", /refuses with SomethingNewException/, /API reference/],
  [`Weird ${LEAK}`, "", "invalid", /what answers there is not Secrets Manager/, /endpoint/],
];

describe("an error of the service", () => {
  it.each(CASES)("%s (%s) is %s", async (code, message, failure, reason, hint) => {
    fake.instead = () => awsError(code, `${message} ${LEAK}`);

    const error = (await read(store, refTo("prod/app"))) as ProviderError;

    expect(error).toBeInstanceOf(ProviderError);
    expect(error.failure).toBe(failure);
    expect(error.reason).toMatch(reason);
    expect(error.reason).toContain("HTTP 400");
    expect(error.hint ?? "").toMatch(hint);
    expect(printed(error)).not.toContain("canary");
  });

  it("has the request's id where the service sends a plain one", async () => {
    const answer = (id: string) => ({
      ...awsError("AccessDeniedException"),
      headers: { "x-amzn-requestid": id },
    });

    fake.instead = () => answer("6f1e1f2a-0000-4000-8000-000000000001");
    expect(await read(store, refTo("a"))).toMatchObject({
      reason:
        "access is denied (AccessDeniedException, HTTP 400, request 6f1e1f2a-0000-4000-8000-000000000001)",
    });

    fake.instead = () => answer(`${LEAK} x`);
    expect(await read(store, refTo("a"))).toMatchObject({
      reason: "access is denied (AccessDeniedException, HTTP 400)",
    });
  });

  it("of every operation is ours, and shows no secret in anything that is printed", async () => {
    const mark = { rotationId: "r1", operator: "alice@laptop", createdAt: new Date(0) };
    const value = new Secret("canary-value");
    const signal = new AbortController().signal;
    const operations: Record<string, () => Promise<unknown>> = {
      fetch: async () => (await store.fetch([refTo("a"), refTo("b")], signal)).values().next().value,
      currentVersion: () => store.currentVersion(refTo("a"), signal),
      put: () => store.put(refTo("a"), value, signal),
      putIfNone: () => store.put(refTo("a"), value, signal, { version: undefined }),
      putIf: () => store.put(refTo("a"), value, signal, { version: "v" }),
      remove: () => store.remove(refTo("a"), signal),
      list: () => store.list(signal),
      findCandidate: () => store.findCandidate(refTo("a"), signal),
      putCandidate: () => store.putCandidate(refTo("a"), value, mark, signal),
      fetchCandidate: () => store.fetchCandidate(refTo("a"), "r1", signal),
      promote: () => store.promote(refTo("a"), "r1", "v", signal),
      discard: () => store.discard(refTo("a"), "r1", signal),
      restore: () => store.restore(refTo("a"), "v1", "v2", signal),
      retire: () => store.retire(refTo("a"), "v1", signal),
    };
    for (const code of ["AccessDeniedException", "ValidationException", "ExpiredTokenException"]) {
      fake.instead = () => awsError(code, LEAK);
      for (const [name, operation] of Object.entries(operations)) {
        const outcome = await settled(operation());
        expect(outcome, name).toBeInstanceOf(ProviderError);
        expect(printed(outcome), name).not.toContain("canary");
      }
    }
  });
});

describe("a write", () => {
  it("is sent again where the service turned it away at the door, and nowhere else", async () => {
    fake.add("key", "canary-old");
    const version = Object.keys(fake.labels("key"))[0]!;
    let times = 0;
    fake.instead = ({ operation }) =>
      operation === "UpdateSecretVersionStage" && times++ === 0 ? awsError("ThrottlingException") : undefined;
    await store.put(refTo("key"), new Secret("canary-new"), new AbortController().signal, { version });
    expect(times).toBeGreaterThan(1);

    times = 0;
    fake.instead = ({ operation }) => {
      if (operation !== "DeleteSecret") return undefined;
      times++;
      return awsError("InternalServiceError", LEAK, 500);
    };
    const outcome = await settled(store.remove(refTo("key"), new AbortController().signal));

    expect(outcome).toMatchObject({ failure: "unavailable", reason: expect.stringContaining("HTTP 500") });
    expect(times).toBe(1);
  });

  it("of a value that AWS would not keep is refused before it is sent", async () => {
    const signal = new AbortController().signal;

    expect(await settled(store.put(refTo("a"), new Secret(""), signal))).toMatchObject({
      failure: "invalid",
      reason: "the value is empty, and AWS keeps 1 to 65536",
    });
    expect(await settled(store.put(refTo("a"), new Secret("ü".repeat(40_000)), signal))).toMatchObject({
      failure: "invalid",
      reason: "the value has 80000 bytes, and AWS keeps 1 to 65536",
    });
    expect(fake.requests).toEqual([]);
  });
});

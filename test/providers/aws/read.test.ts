import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import { refSchema } from "../../../providers/aws/ref.ts";
import type { ProviderError } from "../../../src/errors.ts";
import type { FetchedSecret, RotatableStore } from "../../../src/secrets/provider.ts";
import { Secret } from "../../../src/secrets/secret.ts";
import { awsError, FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { testContext } from "../../helpers/provider-context.ts";
import { never, placeIn, read, revealed } from "../contract.ts";
import { CANARY_KEYS, openAws, refTo } from "./harness.ts";

let fake: FakeSecretsManager;
const opened: RotatableStore<AwsRef>[] = [];

const open = async (overrides = {}) => {
  const store = await openAws({ endpoint: fake.url }, overrides);
  opened.push(store);
  return store;
};
const readAll = async (store: RotatableStore<AwsRef>, refs: readonly AwsRef[]) => {
  const answers = await store.fetch(refs, never());
  return refs.map((ref) => revealed(answers.get(ref)));
};
const names = (count: number) => Array.from({ length: count }, (_, index) => `team/app-${index}`);

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  fake.reset();
});

afterAll(() => fake.stop());

describe("many secrets", () => {
  it("are asked for twenty at a time: fifty are three requests", async () => {
    for (const name of names(50)) fake.add(name, `canary-${name}`);
    const store = await open();

    expect(
      await readAll(
        store,
        names(50).map((name) => refTo(name)),
      ),
    ).toEqual(names(50).map((name) => `canary-${name}`));

    expect(fake.counts).toEqual({ BatchGetSecretValue: 3 });
  });

  it("need no batch where there is one alone", async () => {
    fake.add("one", "canary-one");
    const store = await open();

    expect(await readAll(store, [refTo("one"), refTo("one")])).toEqual(["canary-one", "canary-one"]);

    expect(fake.counts.BatchGetSecretValue).toBeUndefined();
  });

  it("fail one by one: the others are given", async () => {
    for (const name of ["good", "denied", "broken", "deleted"]) fake.add(name, `canary-${name}`);
    fake.instead = ({ operation, input }) => {
      if (operation !== "GetSecretValue") return undefined;
      if (input.SecretId === "denied") {
        return awsError(
          "AccessDeniedException",
          "User: canary-arn is not authorized to perform: secretsmanager:GetSecretValue",
        );
      }
      return input.SecretId === "broken" ? awsError("DecryptionFailure", "canary") : undefined;
    };
    const store = await open();
    await store.remove(refTo("deleted"), never());
    const refs = ["good", "denied", "broken", "deleted", "absent"].map((name) => refTo(name));

    const answers = await store.fetch(refs, never());

    expect(refs.map((ref) => (answers.get(ref) as ProviderError).failure ?? "given")).toEqual([
      "given",
      "denied",
      "denied",
      "missing",
      "missing",
    ]);
    expect((answers.get(refs[1]!) as ProviderError).reason).toContain(
      "secretsmanager:GetSecretValue is denied",
    );
    expect((answers.get(refs[4]!) as ProviderError).reason).toMatch(
      /^there is no such secret in eu-west-1 \(ResourceNotFoundException, in a batch, request [0-9a-f-]+\)$/,
    );
    expect(fake.counts).toMatchObject({ BatchGetSecretValue: 1 });
  });

  it("are asked for one by one where a batch is denied, which is said once and remembered", async () => {
    for (const name of names(3)) fake.add(name, `canary-${name}`);
    fake.instead = ({ operation }) =>
      operation === "BatchGetSecretValue"
        ? awsError("AccessDeniedException", "not authorized to perform: secretsmanager:BatchGetSecretValue")
        : undefined;
    const context = testContext({ env: CANARY_KEYS });
    const store = await open({ emit: context.emit });
    const refs = names(3).map((name) => refTo(name));

    await readAll(store, refs);
    expect(await readAll(store, refs)).toEqual(names(3).map((name) => `canary-${name}`));

    expect(fake.counts).toEqual({ BatchGetSecretValue: 1, GetSecretValue: 6 });
    expect(context.events).toEqual([
      { type: "debug", message: expect.stringContaining("secretsmanager:BatchGetSecretValue is denied") },
    ]);
  });

  it("that a batch has no room for are asked for by themselves", async () => {
    const large = "x".repeat(65_000);
    for (const name of names(20)) fake.add(name, `canary-${name}-${large}`);
    const store = await open();

    const values = await readAll(
      store,
      names(20).map((name) => refTo(name)),
    );

    expect(values.map((value) => value.slice(0, 20))).toEqual(
      names(20).map((name) => `canary-${name}-${large}`.slice(0, 20)),
    );
    expect(fake.counts.BatchGetSecretValue).toBe(1);
    expect(fake.counts.GetSecretValue).toBeLessThan(10);
  });

  it("are named by name, by ARN, and by ARN without its random end", async () => {
    const arn = fake.add("team/by-arn", "canary-arn");
    const partial = fake.add("team/partial", "canary-partial").slice(0, -"-abcdef".length);
    fake.add("team/by-name", "canary-name");
    const store = await open();

    expect(await readAll(store, [refTo(arn), refTo(partial), refTo("team/by-name")])).toEqual([
      "canary-arn",
      "canary-partial",
      "canary-name",
    ]);
  });

  it("of another region are refused, and the rest is given", async () => {
    fake.add("here", "canary-here");
    const there = refTo("arn:aws:secretsmanager:us-east-1:123456789012:secret:there-a1b2c3");
    const store = await open();

    const answers = await store.fetch([refTo("here"), there], never());

    expect(answers.get(there)).toMatchObject({
      failure: "invalid",
      reason: "the ARN is of us-east-1, but this provider asks eu-west-1",
      hint: "a provider of its own with region: us-east-1",
    });
    expect(answers.size).toBe(2);
  });

  it("that the service throttles are asked for again, and the failure says so in the end", async () => {
    fake.add("a", "canary-a");
    let turnedAway = 0;
    fake.instead = () => (turnedAway++ < 2 ? awsError("ThrottlingException", "Rate exceeded") : undefined);
    const store = await open();

    expect(await readAll(store, [refTo("a")])).toEqual(["canary-a"]);

    fake.instead = () => awsError("ThrottlingException", "Rate exceeded");
    expect(await read(store, refTo("a"))).toMatchObject({
      failure: "unavailable",
      reason: expect.stringMatching(
        /^eu-west-1 is throttling us \(ThrottlingException, HTTP 400, request .+\)$/,
      ),
    });
  });
});

describe("where a secret lies", () => {
  const places = async (store: RotatableStore<AwsRef>, refs: readonly AwsRef[]) => {
    const answers = await store.fetch(refs, never());
    return refs.map((ref) => placeIn(answers.get(ref)));
  };

  it("is its whole ARN, however it was asked for: by name, in a batch, by ARN, by version", async () => {
    const arn = fake.add("team/app", "canary-1");
    const other = fake.add("team/other", "canary-2");
    const store = await open();

    expect(await places(store, [refTo("team/app")])).toEqual([arn]);
    expect(await places(store, [refTo(arn), refTo("team/app"), refTo("team/other")])).toEqual([
      arn,
      arn,
      other,
    ]);
    expect(await places(store, [refTo(arn.slice(0, -7), { version: "AWSCURRENT" })])).toEqual([arn]);
    expect(fake.counts.BatchGetSecretValue).toBe(1);
  });

  it.each([
    ["none", undefined],
    ["no ARN of a secret", "arn:aws:iam::123456789012:user/canary"],
    ["an ARN with a line behind it", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf\nx"],
  ])("is not taken from an answer that has %s", async (_what, ARN) => {
    fake.instead = () => ({
      status: 200,
      body: JSON.stringify({ ARN, SecretString: "canary", VersionId: "1" }),
    });

    expect(await places(await open(), [refTo("a")])).toEqual([undefined]);
  });
});

describe("a version", () => {
  it("is found by its staging label or its id, and named as the change check names it", async () => {
    const store = await open();
    const { version: old } = await store.put(refTo("key"), new Secret("canary-old"), never());
    const { version: now } = await store.put(refTo("key"), new Secret("canary-now"), never());
    const asked = { AWSPREVIOUS: old, AWSCURRENT: now, [old!]: old, [now!]: now };

    for (const [version, id] of Object.entries(asked)) {
      const answer = (await read(store, refTo("key", { version }))) as FetchedSecret;
      expect(answer.value.reveal()).toBe(id === old ? "canary-old" : "canary-now");
      expect(answer).toMatchObject({ version: id, createdAt: expect.any(Date) });
      expect(await store.currentVersion(refTo("key", { version }), never())).toBe(id);
    }
  });

  it("that is not there is missing, and one without a label is as good as gone", async () => {
    const store = await open();
    const { version: first } = await store.put(refTo("key"), new Secret("canary-1"), never());
    for (const value of ["canary-2", "canary-3"]) await store.put(refTo("key"), new Secret(value), never());

    expect(await read(store, refTo("key", { version: "NOSUCHLABEL" }))).toMatchObject({
      failure: "missing",
      reason: expect.stringContaining("no value under that staging label"),
    });
    expect(await read(store, refTo("key", { version: "0".repeat(32) }))).toMatchObject({
      failure: "missing",
      reason: expect.stringContaining("no such version"),
    });
    expect(await read(store, refTo("key", { version: first! }))).toMatchObject({
      failure: "missing",
      reason: "that version was retired or superseded: it bears no staging label",
    });
  });

  it("is asked for by GetSecretValue, next to a batch of the others", async () => {
    const store = await open();
    for (const value of ["canary-old", "canary-now"]) await store.put(refTo("a"), new Secret(value), never());
    fake.add("b", "canary-b");

    expect(await readAll(store, [refTo("a", { version: "AWSPREVIOUS" }), refTo("a"), refTo("b")])).toEqual([
      "canary-old",
      "canary-now",
      "canary-b",
    ]);

    expect(fake.counts).toMatchObject({ BatchGetSecretValue: 1, GetSecretValue: 1 });
  });

  it("is never written", async () => {
    const store = await open();

    await expect(
      store.put(refTo("key", { version: "AWSPREVIOUS" }), new Secret("canary"), never()),
    ).rejects.toMatchObject({
      failure: "invalid",
      reason: "version AWSPREVIOUS of a secret is never written",
    });
  });
});

describe("a binary secret", () => {
  it("is base64, or text where the profile says so", async () => {
    fake.add("bytes", Uint8Array.from([0x00, 0xff, 0x10]));
    fake.add("text", Buffer.from("canary-ünï"));
    fake.add("other", "canary-other");
    const store = await open();

    expect(await readAll(store, [refTo("bytes"), refTo("text", { binary: "text" }), refTo("other")])).toEqual(
      ["AP8Q", "canary-ünï", "canary-other"],
    );
    expect(await read(store, refTo("bytes", { binary: "text" }))).toMatchObject({
      failure: "invalid",
      reason: "the binary secret is not UTF-8 text",
    });
  });
});

describe("a ref", () => {
  it.each([
    "prod/app",
    "a",
    "x_y+z=1.2@3-4",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/app-a1b2c3",
    "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:prod/app",
  ])("may name a secret as AWS does: %s", (path) => {
    expect(refSchema.safeParse({ path }).success).toBe(true);
  });

  it.each(["", "a b", "a\nb", "a?b", "a:b", "arn:aws:s3:::bucket", "x".repeat(513)])(
    "names no secret by %j",
    (path) => {
      const parsed = refSchema.safeParse({ path });

      expect(parsed.error?.issues[0]?.message).toBe(
        "a secret is named by its name (letters, digits and /_+=.@-) or its ARN",
      );
    },
  );

  it("has no options that it does not know", () => {
    expect(refSchema.safeParse({ path: "a", attributes: {} }).success).toBe(false);
    expect(refSchema.safeParse({ path: "a", binary: "hex" }).error?.issues[0]?.message).toBe(
      "`binary` is base64 or text",
    );
  });
});

describe("a list", () => {
  it("goes over pages, and leaves out what a rotation keeps beside a secret", async () => {
    for (const name of names(130)) fake.add(name, "canary");
    fake.add("fresh-mcp-run-pending", "canary");
    const store = await open();

    const listed = await store.list(never());

    expect(listed.map(({ path }) => path)).toEqual(names(130));
    expect(listed[0]).toMatchObject({ version: expect.any(String), updatedAt: expect.any(Date) });
    expect(fake.counts).toEqual({ ListSecrets: 2 });
  });
});

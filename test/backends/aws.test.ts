/** The contracts on a real moto server, and what only a server that checks signatures and policies can show. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AwsRef } from "../../providers/aws/ref.ts";
import type { AwsSettings } from "../../providers/aws/settings.ts";
import { identityOf } from "../../src/secrets/identity.ts";
import type { RotatableStore } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { describeBackend } from "../helpers/backends.ts";
import { FAKE_REGION } from "../helpers/fake-secrets-manager.ts";
import { Installation } from "../helpers/installation.ts";
import { MotoServer } from "../helpers/moto-server.ts";
import { openAws, refTo } from "../providers/aws/harness.ts";
import {
  describeStoreContract,
  never,
  type OpenHarness,
  placeIn,
  printed,
  read,
  revealed,
  type StoreHarness,
  settled,
} from "../providers/contract.ts";
import { describeRotationContract } from "../providers/rotation-contract.ts";

/** What the guide tells people to allow; docs/providers/aws-secrets-manager.md. */
const READ = ["GetSecretValue", "BatchGetSecretValue", "DescribeSecret"];
const ROTATE = [...READ, "PutSecretValue", "UpdateSecretVersionStage", "CreateSecret", "DeleteSecret"];

function allowing(actions: readonly string[]) {
  return {
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: actions.map((action) => `secretsmanager:${action}`), Resource: "*" },
    ],
  };
}

const placeOf = (name: string) =>
  new RegExp(`arn:aws:secretsmanager:${FAKE_REGION}:123456789012:secret:${name}-\\w{6}`);

function harnessOn(moto: () => MotoServer): StoreHarness<AwsRef> {
  return {
    emptyIs: "missing",
    maxValueBytes: 65_536,
    placeOf,
    async open(entries): Promise<OpenHarness<AwsRef>> {
      await moto().reset();
      for (const [Name, SecretString] of Object.entries(entries)) {
        await moto().must("CreateSecret", { Name, ...(SecretString && { SecretString }) });
      }
      return { provider: await openAws({ endpoint: moto().url }), ref: refTo, dispose: () => moto().reset() };
    },
  };
}

describeBackend("AWS Secrets Manager, as moto plays it", ["moto"], () => {
  describe("as it is", () => {
    let moto: MotoServer;
    const opened: RotatableStore<AwsRef>[] = [];
    const open = async (settings: AwsSettings = {}, env?: Record<string, string>) => {
      const store = await openAws({ endpoint: moto.url, ...settings }, env && { env });
      opened.push(store);
      return store;
    };

    beforeAll(async () => {
      moto = await MotoServer.start();
    });

    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
      await moto.reset();
    });

    afterAll(() => moto.stop());

    describeStoreContract(
      "aws-secrets-manager, on moto",
      harnessOn(() => moto),
    );

    it("gives versions by label and id, and binary secrets", async () => {
      const store = await open();
      const { version } = await store.put(refTo("key"), new Secret("canary-old"), never());
      await store.put(refTo("key"), new Secret("canary-now"), never());
      await moto.must("CreateSecret", { Name: "bytes", SecretBinary: "AP8Q" });

      expect(revealed(await read(store, refTo("key", { version: "AWSPREVIOUS" })))).toBe("canary-old");
      expect(revealed(await read(store, refTo("key", { version: version! })))).toBe("canary-old");
      expect(revealed(await read(store, refTo("bytes")))).toBe("AP8Q");
    });

    it("is the same secret in a region that AWS replicates it to", async () => {
      const replicated = {
        Name: "key",
        SecretString: "canary",
        AddReplicaRegions: [{ Region: "us-east-1" }],
      };
      await moto.must("CreateSecret", replicated);

      const places = await Promise.all(
        [await open(), await open({ region: "us-east-1" })].map(async (store) =>
          placeIn(await read(store, refTo("key"))),
        ),
      );

      expect(places[0]).not.toBe(places[1]);
      const [here, there] = places.map((place) => identityOf({ from: "aws:key", place }));
      expect(here).toBe(there);
    });

    it("schedules a deletion that can be taken back, and says so to readers", async () => {
      const store = await open();
      await store.put(refTo("key"), new Secret("canary"), never());
      await store.remove(refTo("key"), never());

      expect(await read(store, refTo("key"))).toMatchObject({
        failure: "missing",
        reason: expect.stringContaining("the secret is scheduled for deletion (InvalidRequestException"),
      });
      await moto.must("RestoreSecret", { SecretId: "key" });
      expect(revealed(await read(store, refTo("key")))).toBe("canary");
    });

    it("reads with an assumed role", async () => {
      await moto.must("CreateSecret", { Name: "key", SecretString: "canary" });
      const arn = "arn:aws:iam::123456789012:role/reader";

      const store = await open({ assumeRole: { arn, sessionName: "alice", endpoint: moto.url } });

      expect(revealed(await read(store, refTo("key")))).toBe("canary");
    });

    describe("with signatures and policies checked", () => {
      const openAs = async (policy: object) => {
        const { accessKeyId, secretAccessKey } = await moto.userWith(policy);
        await moto.enforceIam(true);
        return {
          store: await open({}, { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }),
          accessKeyId,
        };
      };

      it("needs no more to read than the guide says", async () => {
        for (const name of ["a", "b"])
          await moto.must("CreateSecret", { Name: name, SecretString: "canary" });
        const { store } = await openAs(allowing(READ));

        expect((await store.fetch([refTo("a"), refTo("b")], never())).size).toBe(2);
        expect(revealed(await read(store, refTo("a")))).toBe("canary");
        expect(await store.currentVersion(refTo("a"), never())).toEqual(expect.any(String));
        expect(await settled(store.put(refTo("a"), new Secret("canary"), never()))).toMatchObject({
          failure: "denied",
          reason: expect.stringContaining("HTTP 403"),
        });
      });

      it("falls back to single reads where a batch is not allowed", async () => {
        for (const name of ["a", "b"])
          await moto.must("CreateSecret", { Name: name, SecretString: "canary" });
        const { store } = await openAs(allowing(["GetSecretValue"]));

        const answers = await store.fetch([refTo("a"), refTo("b")], never());

        expect([...answers.values()].map(revealed)).toEqual(["canary", "canary"]);
      });

      // AWS has a code for each of these; moto answers both with 403 and XML.
      it("turns away a key that it does not know, and a secret key that is wrong", async () => {
        await moto.must("CreateSecret", { Name: "key", SecretString: "canary" });
        const { accessKeyId } = await openAs(allowing(READ));
        const stranger = await open({});
        const mistyped = await open(
          {},
          { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: "canary-wrong" },
        );

        for (const store of [stranger, mistyped]) {
          const error = await read(store, refTo("key"));
          expect(error).toMatchObject({ failure: "denied", reason: expect.stringContaining("HTTP 403") });
          expect(printed(error)).not.toContain("canary");
        }
      });
    });

    describe("behind mcp-run", () => {
      let installation: Installation;

      afterEach(() => installation.remove());

      it("keeps, lists, checks and delivers a secret, and passes no key on", () => {
        installation = new Installation();
        installation.write(
          "config/mcp-run.yaml",
          `version: 1
providers:
  aws: { type: aws-secrets-manager, region: eu-west-1, endpoint: "${moto.url}" }
profiles:
  p:
    command: node
    secrets: { DSN: "aws:prod/app#dsn", TOKEN: "aws:prod/token" }
`,
        );
        const env = { AWS_ACCESS_KEY_ID: "canary-key", AWS_SECRET_ACCESS_KEY: "canary-secret" };
        const run = (args: readonly string[], input = "") => installation.run(args, { env, input });
        expect(run(["secrets", "set", "aws:prod/app"], '{"dsn":"canary-dsn"}')).toMatchObject({ status: 0 });
        expect(run(["secrets", "set", "aws:prod/token"], "canary-token")).toMatchObject({ status: 0 });

        const script =
          'console.log(process.env.DSN === "canary-dsn", process.env.TOKEN === "canary-token", process.env.AWS_SECRET_ACCESS_KEY)';
        const ran = run(["exec", "p", "--", process.execPath, "-e", script]);

        expect(ran).toMatchObject({ status: 0, stdout: "true true undefined\n" });
        expect(ran.stderr).not.toContain("NodeVersionSupportWarning");
        expect(run(["check", "p"])).toMatchObject({ status: 0 });
        expect(run(["secrets", "list", "aws"]).stdout).toContain("aws:prod/app");
      });

      it("shows no secret under any debugging variable", async () => {
        installation = new Installation();
        await moto.must("CreateSecret", { Name: "key", SecretString: "canary-value" });
        installation.profile(
          "p",
          `version: 1
providers:
  aws: { type: aws-secrets-manager, region: eu-west-1, endpoint: "${moto.url}" }
command: node
secrets: { TOKEN: "aws:key", OTHER: { from: "aws:absent", optional: true } }
`,
        );
        const env = {
          AWS_ACCESS_KEY_ID: "canary-key",
          AWS_SECRET_ACCESS_KEY: "canary-secret",
          AWS_SESSION_TOKEN: "canary-session",
          DEBUG: "*",
          NODE_DEBUG: "*",
          AWS_LOG_LEVEL: "debug",
          AWS_SDK_JS_DEBUG: "1",
          SMITHY_LOG: "trace",
        };

        const ran = installation.run(
          ["--log-level", "debug", "exec", "p", "--", process.execPath, "-e", "0"],
          { env },
        );

        expect(ran.status).toBe(0);
        expect(ran.stderr).toContain("HTTP");
        expect(`${ran.stdout}${ran.stderr}`).not.toContain("canary");
      });
    });
  });

  describe("told the rules of staging labels", () => {
    let moto: MotoServer;

    beforeAll(async () => {
      moto = await MotoServer.start({ mended: true });
    });

    afterAll(() => moto.stop());

    describeRotationContract("aws-secrets-manager, on moto", {
      ...harnessOn(() => moto),
      another: () => openAws({ endpoint: moto.url }),
    });

    it("needs no more to rotate than the guide says", async () => {
      await moto.reset();
      const { accessKeyId, secretAccessKey } = await moto.userWith(allowing(ROTATE));
      await moto.must("CreateSecret", { Name: "key", SecretString: "canary-old" });
      await moto.enforceIam(true);
      const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
      const store = await openAws({ endpoint: moto.url }, { env });
      const mark = { rotationId: "r1", operator: "alice@laptop", createdAt: new Date(0) };
      const old = (await store.currentVersion(refTo("key"), never()))!;

      await store.putCandidate(refTo("key"), new Secret("canary-new"), mark, never());
      expect((await store.fetchCandidate(refTo("key"), "r1", never())).value.reveal()).toBe("canary-new");
      const { version } = await store.promote(refTo("key"), "r1", old, never());
      await store.restore(refTo("key"), old, version, never());
      await store.retire(refTo("key"), version, never());
      await store.putCandidate(refTo("fresh"), new Secret("canary-new"), mark, never());
      await store.promote(refTo("fresh"), "r1", undefined, never());

      expect(revealed(await read(store, refTo("key")))).toBe("canary-old");
      expect(revealed(await read(store, refTo("fresh")))).toBe("canary-new");
      await store.close();
    });
  });
});

/** The contracts of every provider, store and rotation, on a service that keeps the rules of the API reference. */
import { afterAll, beforeAll } from "vitest";
import { FAKE_REGION, FakeSecretsManager } from "../helpers/fake-secrets-manager.ts";
import { openAws, refTo } from "./aws/harness.ts";
import { describeRotationContract } from "./rotation-contract.ts";

let fake: FakeSecretsManager;

beforeAll(async () => {
  fake = await FakeSecretsManager.start();
});

afterAll(() => fake.stop());

describeRotationContract("aws-secrets-manager", {
  emptyIs: "missing",
  maxValueBytes: 65_536,
  placeOf: (name) => new RegExp(`arn:aws:secretsmanager:${FAKE_REGION}:123456789012:secret:${name}-\\w{6}`),
  async open(entries) {
    fake.reset();
    for (const [name, value] of Object.entries(entries)) fake.add(name, value);
    return { provider: await openAws({ endpoint: fake.url }), ref: refTo, dispose: async () => fake.reset() };
  },
  another: () => openAws({ endpoint: fake.url }),
  async hang() {
    fake.reset();
    fake.instead = () => "silence";
    return { provider: await openAws({ endpoint: fake.url }), ref: refTo, dispose: async () => fake.reset() };
  },
});

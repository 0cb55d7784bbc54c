/** The contracts of every provider, store and rotation, on a service that keeps the rules of the API reference. */
import { afterAll, beforeAll } from "vitest";
import { FakeSecretsManager } from "../helpers/fake-secrets-manager.ts";
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

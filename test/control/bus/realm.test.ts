/** Which places say of themselves whose they are, and which may be one by two addresses. */
import { expect, it } from "vitest";
import { mayBeSameRealm, realmOf } from "../../../src/control/bus/realm.ts";

const arn = (region: string, account: string, name: string) =>
  `arn:aws:secretsmanager:${region}:${account}:secret:${name}`;

it("an account of AWS is one realm in all regions, and another account is another one", () => {
  const ours = realmOf(arn("eu-west-1", "111122223333", "a-AbC123"));

  expect(ours).toMatch(/^[\w-]{22}$/);
  expect(realmOf(arn("us-east-1", "111122223333", "b-XyZ456"))).toBe(ours);
  expect(realmOf(arn("eu-west-1", "444455556666", "a-AbC123"))).not.toBe(ours);
});

it("a vault of Azure is a realm by its own name", () => {
  const [prod, staging] = ["prod", "staging"].map((name) =>
    realmOf(`https://kv-${name}.vault.azure.net/secrets/app`),
  );

  expect(prod).toBeDefined();
  expect(staging).toBeDefined();
  expect(prod).not.toBe(staging);
});

it.each([
  "https://vault.example.com/v1/secret/data/app",
  "http://127.0.0.1:8200/v1/secret/data/app",
  "https://kv.vault.azure.net.example.com/secrets/app",
  "https://example.com/?.vault.azure.net/secrets/app",
  undefined,
])("%s says nothing of whose it is", (place) => {
  expect(realmOf(place)).toBeUndefined();
});

it("what does not say whose it is may be anybody's", () => {
  expect(mayBeSameRealm(undefined, "a")).toBe(true);
  expect(mayBeSameRealm("a", undefined)).toBe(true);
  expect(mayBeSameRealm("a", "a")).toBe(true);
  expect(mayBeSameRealm("a", "b")).toBe(false);
});

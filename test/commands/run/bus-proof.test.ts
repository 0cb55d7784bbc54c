import { createHmac, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { leasesOf, proofOf } from "../../../src/commands/run/bus-proof.ts";
import type { ResolvedSecret } from "../../../src/secrets/resolution.ts";
import { Secret } from "../../../src/secrets/secret.ts";

const KEY = randomBytes(32);
const hmac = (text: string) => createHmac("sha256", KEY).update(text).digest("hex");
const secret = (value: string) => ({ value: new Secret(value) }) as ResolvedSecret;
const DOCUMENT = JSON.stringify({ user: "canary-user", db: { password: "canary-password" } });

describe("what a supervisor proves to its fleet", () => {
  it("is the whole value, or those fields of it that are asked for", () => {
    const both = [["user"], ["db", "password"]];

    expect(proofOf([secret("canary-a")], KEY, undefined)).toBe(hmac("canary-a"));
    expect(proofOf([secret(DOCUMENT)], KEY, both)).toBe(
      hmac(`${hmac("canary-user")} ${hmac("canary-password")}`),
    );
  });

  it.each([
    ["a document that lacks a field", [secret(DOCUMENT)], [["user"], ["token"]]],
    ["what is no document", [secret("canary-a")], [["user"]]],
    ["two versions of it", [secret("canary-a"), secret("canary-b")], undefined],
    ["nothing", undefined, undefined],
  ])("is nothing for %s", (_what, secrets, ways) => {
    expect(proofOf(secrets, KEY, ways)).toBeUndefined();
  });
});

describe("the leases that a server's secret is had by", () => {
  const lent = (id?: string) =>
    ({
      value: new Secret("canary-a"),
      lease: { ...(id !== undefined && { id: () => id }) },
    }) as ResolvedSecret;

  it("are all of them, each once", () => {
    expect(leasesOf([lent("one"), lent("two"), lent("one")])).toEqual(["one", "two"]);
  });

  it.each([
    ["one of them has no name", [lent("one"), lent()]],
    ["some of it is had by none", [lent("one"), secret("canary-a")]],
    ["there is no such secret", undefined],
  ])("are not known where %s", (_what, secrets) => {
    expect(leasesOf(secrets)).toBeUndefined();
  });
});

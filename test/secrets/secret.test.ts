import { format, inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/secrets/secret.ts";

describe("Secret", () => {
  const secret = new Secret("canary-value");

  it.each([
    ["String()", String(secret)],
    ["a template literal", `${secret}`],
    ["concatenation", ["", secret].join("")],
    ["JSON", JSON.stringify({ secret, list: [secret] })],
    ["util.inspect", inspect({ deep: { secret } }, { showHidden: true, depth: 9 })],
    ["util.format", format("%s %o %j %O", secret, secret, secret, secret)],
    ["spread", JSON.stringify({ ...secret })],
    ["an error's message", new Error(`${secret}`).message],
  ])("does not show its value through %s", (_way, text) => {
    expect(text).not.toContain("canary");
  });

  it("gives its value only to reveal()", () => {
    expect(secret.reveal()).toBe("canary-value");
  });

  it("equals another one with the same value, and no other", () => {
    expect(secret.equals(new Secret("canary-value"))).toBe(true);
    expect(secret.equals(new Secret("canary-valuE"))).toBe(false);
    expect(secret.equals(new Secret("canary"))).toBe(false);
  });
});

import { describe, expect, it } from "vitest";
import { generateIssuer, generateValue } from "../../../src/rotation/issuers/generate.ts";
import { bitsOf, type GeneratedShape, leastLength } from "../../../src/secrets/generated-shape.ts";
import { never, REQUEST } from "./asking.ts";

const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

describe("a generated value", () => {
  it.each<[GeneratedShape, RegExp]>([
    [{ bytes: 32, encoding: "base64url" }, /^[\w-]{43}$/],
    [{ bytes: 16, encoding: "hex" }, /^[0-9a-f]{32}$/],
    [{ bytes: 33, encoding: "base64" }, /^[A-Za-z0-9+/]{44}$/],
    [{ length: 40, alphabet: ALPHANUMERIC }, /^[A-Za-z0-9]{40}$/],
    [{ length: 128, alphabet: "01" }, /^[01]{128}$/],
  ])("has the shape %j and is another each time", (shape, expected) => {
    const values = new Set(Array.from({ length: 100 }, () => generateValue(shape).reveal()));

    expect(values.size).toBe(100);
    for (const value of values) expect(value).toMatch(expected);
  });

  it("has every character as often as any other, also where 256 is no multiple of the alphabet", () => {
    const draws = 62 * 2_000;
    const text = Array.from({ length: draws / 62 }, () =>
      generateValue({ length: 62, alphabet: ALPHANUMERIC }).reveal(),
    ).join("");

    const counts = [...ALPHANUMERIC].map((character) => text.split(character).length - 1);
    const chiSquared = counts.reduce((sum, count) => sum + (count - 2_000) ** 2 / 2_000, 0);
    // 61 degrees of freedom: above 160 once in 10^10 runs; a byte modulo 62 would have about 870.
    expect(chiSquared).toBeLessThan(160);
  });

  it.each<GeneratedShape>([
    { length: 21, alphabet: ALPHANUMERIC },
    { bytes: 15, encoding: "hex" },
    { length: 4096, alphabet: "a" },
    { length: Number.NaN, alphabet: "ab" },
  ])("that could be guessed is not made: %j", (shape) => {
    expect(() => generateValue(shape)).toThrow("at least 128 bits");
  });

  it("has its entropy computed of what it is made of", () => {
    expect(bitsOf({ bytes: 32, encoding: "hex" })).toBe(256);
    expect(bitsOf({ length: 32, alphabet: "0123456789abcdef" })).toBe(128);
    expect(leastLength("0123456789abcdef")).toBe(32);
    expect(leastLength(ALPHANUMERIC)).toBe(22);
    expect(leastLength("a")).toBeUndefined();
  });
});

describe("the issuer of one's own keys", () => {
  const issuer = generateIssuer({ bytes: 32, encoding: "base64url" });

  it("mints, and can't find anything again", async () => {
    const { value, keyId } = await issuer.mint(REQUEST, never());

    expect(value.reveal()).toMatch(/^[\w-]{43}$/);
    expect(keyId).toBeUndefined();
    expect(await issuer.find(REQUEST, never())).toBeUndefined();
  });

  it("does not know who still accepts an old value", async () => {
    expect(await issuer.revoke(REQUEST, {}, never())).toBe("unknown");
    expect(await issuer.verify(REQUEST, {}, never())).toBe("unknown");
  });

  it("knows that nobody accepts a candidate that no server ever had", async () => {
    expect(await issuer.revoke(REQUEST, { isCandidate: true }, never())).toBe("revoked");
  });
});

import { describe, expect, it } from "vitest";
import { holdersOf, identityOf, isSameSecret, nameWithin, wayWithin } from "../../src/secrets/identity.ts";

const AT = "https://vault.example.com/v1/secret/data/mcp/github";
const ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/github-AbCdEf";

describe("what holds a field within it", () => {
  it("is its document, and every field around it", () => {
    const found = holdersOf({ from: "vault:mcp/a#b.c\\.d.e", place: "https://v/mcp/a" });

    expect(found.map(({ name, way }) => [name.from, way])).toEqual([
      ["vault:mcp/a", ["b", "c.d", "e"]],
      ["vault:mcp/a#b", ["c.d", "e"]],
      ["vault:mcp/a#b.c\\.d", ["e"]],
    ]);
    for (const { name, way } of found)
      expect(wayWithin(name, { from: "other:x#b.c\\.d.e", place: "https://v/mcp/a" })).toEqual(way);
    expect(holdersOf({ from: "vault:mcp/a" })).toEqual([]);
  });
});

describe("what lies within a value", () => {
  it("has the name that a profile gives it", () => {
    const at = { place: "https://v/mcp/a" };

    const names = [["b"], ["b", "c.d"]].map((way) => nameWithin({ from: "vault:mcp/a\\#1", ...at }, way));

    expect(names).toEqual([
      { from: "vault:mcp/a\\#1#b", ...at },
      { from: "vault:mcp/a\\#1#b.c\\.d", ...at },
    ]);
    expect(nameWithin({ from: "vault:a#b" }, ["c"])).toEqual({ from: "vault:a#b.c" });
  });

  it("has none where no ref can name it", () => {
    for (const way of [[""], ["a", ""], ["a\\", "b"], ["a\nb"]])
      expect(nameWithin({ from: "vault:mcp/a" }, way), JSON.stringify(way)).toBeUndefined();
  });
});

describe("two secrets", () => {
  it("are one where they lie in one place, whatever the profiles call the backend", () => {
    const one = { from: "vault:mcp/github#token", place: AT };

    expect(isSameSecret(one, { from: "prod-vault:mcp/github#token", place: AT })).toBe(true);
    expect(identityOf(one)).toBe(identityOf({ from: "prod-vault:mcp/github#token", place: AT }));
    expect(isSameSecret(one, { ...one, place: `${AT}-other` })).toBe(false);
  });

  it("are two where they are different fields of one document, or one of them is all of it", () => {
    const one = { from: "vault:mcp/github#token", place: AT };

    expect(isSameSecret(one, { from: "vault:mcp/github#user", place: AT })).toBe(false);
    expect(isSameSecret(one, { from: "vault:mcp/github#token.a", place: AT })).toBe(false);
    expect(isSameSecret(one, { from: "vault:mcp/github", place: AT })).toBe(false);
    expect(
      isSameSecret({ from: "vault:a#b\\.c", place: AT }, { from: "vault:a#b.c", place: AT }),
      "a dot in a name is not a step",
    ).toBe(false);
  });

  it("are told apart by their refs where one of them does not say where it lies", () => {
    const ref = "local:key";

    expect(isSameSecret({ from: ref }, { from: ref })).toBe(true);
    expect(isSameSecret({ from: ref, place: "file:///a#key" }, { from: ref })).toBe(true);
    expect(isSameSecret({ from: ref, place: "file:///a#key" }, { from: "team:key" })).toBe(false);
    expect(identityOf({ from: ref })).toBe(ref);
  });

  it("are one where AWS replicates it to another region, and two in two accounts", () => {
    const from = "aws:mcp/github";
    const replica = ARN.replace("eu-west-1", "us-gov-east-1");

    expect(isSameSecret({ from, place: ARN }, { from, place: replica })).toBe(true);
    expect(identityOf({ from, place: ARN })).toBe(identityOf({ from, place: replica }));
    expect(isSameSecret({ from, place: ARN }, { from, place: ARN.replace("AbCdEf", "AbCdEg") })).toBe(false);
    expect(isSameSecret({ from, place: ARN }, { from, place: ARN.replace("1234", "4321") })).toBe(false);
  });
});

describe("a value", () => {
  it("is found within what has all of its document, or a field around it", () => {
    const token = { from: "vault:mcp/github#keys.token", place: AT };

    expect(wayWithin({ from: "prod:mcp/github", place: AT }, token)).toEqual(["keys", "token"]);
    expect(wayWithin({ from: "prod:mcp/github#keys", place: AT }, token)).toEqual(["token"]);
    expect(wayWithin(token, token)).toEqual([]);
  });

  it("is found whatever characters its fields are named with", () => {
    const token = { from: "vault:mcp/a\\#b#k\\.e\\ys.token", place: AT };

    expect(wayWithin({ from: "prod:other/name#k\\.e\\ys", place: AT }, token)).toEqual(["token"]);
    expect(wayWithin({ from: "vault:mcp/a\\#b#k\\.e\\ys" }, { from: token.from })).toEqual(["token"]);
    expect(wayWithin({ from: "vault:mcp/a\\#b" }, { from: token.from })).toEqual(["k.e\\ys", "token"]);
  });

  it("is not within another field, another document, or a part of itself", () => {
    const token = { from: "vault:mcp/github#keys.token", place: AT };

    expect(wayWithin({ from: "vault:mcp/github#keys.other", place: AT }, token)).toBeUndefined();
    expect(wayWithin({ from: "vault:mcp/github", place: `${AT}-other` }, token)).toBeUndefined();
    expect(wayWithin({ from: "vault:mcp/github#keys.token.part", place: AT }, token)).toBeUndefined();
    expect(wayWithin({ from: "template" }, token)).toBeUndefined();
  });
});

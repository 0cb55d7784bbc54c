import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import { allFields, pickField } from "../../src/secrets/field.ts";
import { Secret } from "../../src/secrets/secret.ts";

const document = new Secret(
  '{"a":"canary-1","b":{"c.d":"canary-2","n":1.5,"t":true,"z":null,"l":[1]},"big":12345678901234567890}',
);

describe("pickField", () => {
  it.each([
    [["a"], "canary-1"],
    [["b", "c.d"], "canary-2"],
    [["b", "n"], "1.5"],
    [["b", "t"], "true"],
    [["b", "l"], "[1]"],
  ])("finds %j", (field, expected) => {
    const value = pickField(document, field);
    expect(value instanceof Secret && value.reveal()).toBe(expected);
  });

  it.each([
    [["x"], "missing", 'there is no field "x" (it has "a", "b", "big")'],
    [["a", "x"], "missing", '"a" is not an object, so it has no field "x"'],
    [["b", "z"], "missing", 'field "b.z" is null'],
    [["big"], "invalid", 'field "big" is a number too large to be read exactly'],
    [["constructor"], "missing", 'there is no field "constructor" (it has "a", "b", "big")'],
    [["__proto__"], "missing", 'there is no field "__proto__" (it has "a", "b", "big")'],
  ])("refuses %j", (field, failure, reason) => {
    expect(pickField(document, field)).toMatchObject({ failure, reason });
  });

  it.each(["canary-plain", "", '"canary-string"', "[1]", "canary-{"])(
    "refuses %j, which is no document",
    (text) => {
      const error = pickField(new Secret(text), ["a"]);
      expect(error).toBeInstanceOf(ProviderError);
      expect(inspect(error) + JSON.stringify(error)).not.toContain("canary");
    },
  );

  it("names at most twenty fields", () => {
    const wide = new Secret(
      JSON.stringify(Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`f${n}`, n]))),
    );
    expect(pickField(wide, ["x"])).toMatchObject({ reason: expect.stringMatching(/"f19" and 5 more\)$/) });
  });
});

describe("allFields", () => {
  it("gives every field in the document's order", () => {
    const fields = allFields(new Secret('{"b":"1","a":"2"}'));
    expect(fields instanceof Map && [...fields.keys()]).toEqual(["b", "a"]);
  });
});

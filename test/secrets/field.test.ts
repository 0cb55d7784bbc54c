import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import { allFields, pickField, replaceField } from "../../src/secrets/field.ts";
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

describe("replaceField", () => {
  it.each([
    ["a text", '{"a":"old","b":"2"}', ["a"], '{"a":"new","b":"2"}'],
    ["a number, with a text", '{"n": -1.5e+3 ,"b":"2"}', ["n"], '{"n": "new" ,"b":"2"}'],
    ["a null", '{"z":null}', ["z"], '{"z":"new"}'],
    ["a text with quotes and backslashes", '{"a":"\\"}{\\\\","b":1}', ["a"], '{"a":"new","b":1}'],
    [
      "a field of an object",
      '{"b":{"c.d":"old","l":[1,{"c.d":2}]}}',
      ["b", "c.d"],
      '{"b":{"c.d":"new","l":[1,{"c.d":2}]}}',
    ],
    ["the last of several with one name", '{"a":"1","a":"2"}', ["a"], '{"a":"1","a":"new"}'],
    ["a name that is written with escapes", '{"\\u0061":"old"}', ["a"], '{"\\u0061":"new"}'],
    [
      "a name that means something to JavaScript",
      '{"__proto__":"old"}',
      ["__proto__"],
      '{"__proto__":"new"}',
    ],
  ])("replaces %s, and leaves every other character", (_what, text, field, expected) => {
    expect(replaced(text, field)).toBe(expected);
  });

  it.each([
    ["in an empty object", "{ }", ["a"], '{"a":"new"}'],
    ["after one member", '{ "a": 1 }', ["b"], '{ "a": 1, "b": "new" }'],
    [
      "on a line of its own",
      '{\n  "a": 1,\n  "b": 2\n}\n',
      ["c"],
      '{\n  "a": 1,\n  "b": 2,\n  "c": "new"\n}\n',
    ],
    ["in an object within", '{"a":{"b":{}},"z":1}', ["a", "b", "c"], '{"a":{"b":{"c":"new"}},"z":1}'],
    ["under a strange name", "{}", ['"\\\n'], '{"\\"\\\\\\n":"new"}'],
  ])("makes the field that there was not: %s", (_where, text, field, expected) => {
    expect(replaced(text, field)).toBe(expected);
  });

  it("rounds no number, and keeps the order", () => {
    const text = '{"z": 12345678901234567890, "1": 0.10, "a": "old", "e": 1E400}';

    expect(replaced(text, ["a"])).toBe(text.replace("old", "new"));
  });

  it.each([
    ['{"a":"canary"}', ["b", "c"], "missing", 'there is no field "b" (it has "a")'],
    ['{"a":"canary"}', ["a", "b"], "missing", '"a" is not an object, so it has no field "b"'],
    ['{"a":{"b":["canary"]}}', ["a", "b", "c"], "missing", '"a.b" is not an object, so it has no field "c"'],
    ['{"a":{"b":"canary"}}', ["a"], "invalid", 'field "a" is an object or a list, not a text'],
    ['{"a":["canary"]}', ["a"], "invalid", 'field "a" is an object or a list, not a text'],
    ["canary", ["a"], "invalid", "the value is not JSON, so it has no fields"],
    ['["canary"]', ["a"], "invalid", "the value is JSON but not an object, so it has no fields"],
  ])("refuses to change %j at %j", (text, field, failure, reason) => {
    const error = replaceField(new Secret(text), field, new Secret("canary-new"));

    expect(error).toMatchObject({ failure, reason });
    expect(inspect(error) + JSON.stringify(error)).not.toContain("canary");
  });

  it("gives back what was put, and changes no other field, whatever the document is", () => {
    const documents = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 });
    fc.assert(
      fc.property(
        documents,
        fc.string(),
        fc.string(),
        fc.constantFrom(0, 2),
        (before, name, value, indent) => {
          if (typeof before[name] === "object" && before[name] !== null) return;
          const after = replaceField(
            new Secret(JSON.stringify(before, null, indent)),
            [name],
            new Secret(value),
          );

          expect(after).toBeInstanceOf(Secret);
          const expected = Object.entries({ ...before });
          const parsed = JSON.parse((after as Secret).reveal());
          expect(Object.getOwnPropertyDescriptor(parsed, name)?.value).toBe(value);
          for (const [key, kept] of expected) {
            if (key !== name)
              expect(Object.getOwnPropertyDescriptor(parsed, key)?.value).toEqual(
                JSON.parse(JSON.stringify(kept)),
              );
          }
        },
      ),
    );
  });
});

function replaced(text: string, field: readonly string[]): string {
  const result = replaceField(new Secret(text), field, new Secret("new"));
  return result instanceof ProviderError ? result.reason : result.reveal();
}

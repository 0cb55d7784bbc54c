import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rawValue, spanOf, withRawValue } from "../../src/relay/json-span.ts";

const bytes = (text: string) => Buffer.from(text);

describe("where a value stands", () => {
  it.each([
    ['{"id":5}', ["id"], "5"],
    ['{"result":{"id":1,"x":"}\\""},"jsonrpc":"2.0","id":"a\\"b"}\n', ["id"], '"a\\"b"'],
    ['{ "params" : { "_meta" : { "progressToken" : 7 } } }', ["params", "_meta", "progressToken"], "7"],
    ['{"id":1,"id":2}', ["id"], "2"],
    ['{"\\u0069d":3}', ["id"], "3"],
    ['\ufeff{"id":-1.5e3 }', ["id"], "-1.5e3"],
    ['{"a":[1,{"id":4}],"id":null}', ["id"], "null"],
  ])("in %s", (json, path, raw) => {
    expect(rawValue(bytes(json), path)).toBe(raw);
  });

  it.each([
    ["[1]", ["id"]],
    ['{"a":1}', ["id"]],
    ['{"id":', ["id"]],
    ['{"id":"x', ["id"]],
    ['{"id" 5}', ["id"]],
    ['{"a":[{"id":5}]}', ["a", "id"]],
    ["", ["id"]],
    ["plain text", ["id"]],
  ])("is nowhere in %s", (json, path) => {
    expect(spanOf(bytes(json), path)).toBeUndefined();
  });

  it("is found as JSON.parse finds it, and replacing it changes nothing else", () => {
    const key = fc.constantFrom("id", "params", "_meta", 'k"\\', "ü");
    fc.assert(
      fc.property(
        fc.dictionary(key, fc.jsonValue()),
        key,
        fc.integer(),
        fc.boolean(),
        (object, name, replacement, pretty) => {
          const json = bytes(JSON.stringify(object, null, pretty ? 2 : 0));
          const raw = rawValue(json, [name]);
          expect(raw === undefined ? undefined : JSON.parse(raw)).toEqual(
            Object.hasOwn(object, name) ? JSON.parse(JSON.stringify(object[name])) : undefined,
          );
          const replaced = JSON.parse(withRawValue(json, [name], String(replacement)).toString());
          expect(replaced).toEqual(
            JSON.parse(
              JSON.stringify(Object.hasOwn(object, name) ? { ...object, [name]: replacement } : object),
            ),
          );
        },
      ),
    );
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Envelope } from "../../src/relay/envelope.ts";
import { MAX_TOKEN_BYTES } from "../../src/relay/envelope-scanner.ts";
import { readEnvelope, readEnvelopeOf } from "../../src/relay/read-envelope.ts";

const OPAQUE: Envelope = { type: "opaque" };

const ROWS: readonly (readonly [name: string, line: string, envelope: Envelope])[] = [
  ["a request", '{"jsonrpc":"2.0","id":5,"method":"ping"}', { type: "request", id: "5", method: "ping" }],
  [
    "a request as the TypeScript SDK writes it",
    '{"method":"tools/call","params":{"name":"x"},"jsonrpc":"2.0","id":5}',
    { type: "request", id: "5", method: "tools/call" },
  ],
  ["a string id", '{"id":"listen:0","method":"a"}', { type: "request", id: '"listen:0"', method: "a" }],
  [
    "an id with escapes",
    '{"id":"\\u0035\\"","method":"a"}',
    { type: "request", id: '"\\u0035\\""', method: "a" },
  ],
  ["an id in UTF-8", '{"id":"ключ🔑","method":"a"}', { type: "request", id: '"ключ🔑"', method: "a" }],
  ["the id zero", '{"id":0,"method":"a"}', { type: "request", id: "0", method: "a" }],
  [
    "an id that is no small integer",
    '{"id":-1.5e+3,"method":"a"}',
    { type: "request", id: "-1.5e+3", method: "a" },
  ],
  [
    "a large id",
    '{"id":12345678901234567890,"method":"a"}',
    { type: "request", id: "12345678901234567890", method: "a" },
  ],
  [
    "a notification",
    '{"method":"notifications/initialized"}',
    { type: "notification", method: "notifications/initialized" },
  ],
  ["a method with escapes", '{"method":"a\\/b\\u0063"}', { type: "notification", method: "a/bc" }],
  ["a null id with a method", '{"id":null,"method":"a"}', { type: "notification", method: "a" }],
  ["an id that is an object", '{"id":{"id":1},"method":"a"}', { type: "notification", method: "a" }],
  [
    "an answer with its id behind",
    '{"result":{"a":[1,{"id":9}]},"jsonrpc":"2.0","id":5}',
    { type: "response", id: "5", isError: false },
  ],
  ["an answer with its id in front", '{"id":5,"result":null}', { type: "response", id: "5", isError: false }],
  [
    "an error",
    '{"id":5,"error":{"code":-32603,"message":"x"}}',
    { type: "response", id: "5", isError: true },
  ],
  [
    "an answer to nobody",
    '{"id":null,"error":{"code":-32700}}',
    { type: "response", id: "null", isError: true },
  ],
  [
    "a result beside a null error",
    '{"id":5,"result":1,"error":null}',
    { type: "response", id: "5", isError: false },
  ],
  [
    "an error beside a null result",
    '{"id":5,"result":null,"error":{}}',
    { type: "response", id: "5", isError: true },
  ],
  ["a method beside a result", '{"id":5,"result":1,"method":"a"}', { type: "request", id: "5", method: "a" }],
  ["keys with escapes", '{"\\u0069d":5,"meth\\u006fd":"a"}', { type: "request", id: "5", method: "a" }],
  [
    "a key that only begins like one",
    '{"id2":1,"methods":"a","id":5,"result":{}}',
    { type: "response", id: "5", isError: false },
  ],
  ["keys twice", '{"id":1,"method":"a","id":2,"method":"b"}', { type: "request", id: "2", method: "b" }],
  ["an id that is taken back", '{"id":1,"method":"a","id":[]}', { type: "notification", method: "a" }],
  [
    "look-alikes in strings",
    '{"x":"\\",\\"id\\":1,\\"method\\":\\"m\\"","id":5,"result":"{\\\\"}',
    { type: "response", id: "5", isError: false },
  ],
  [
    "brackets in strings",
    '{"params":{"a":"}]{[","b":["\\\\"]},"method":"m"}',
    { type: "notification", method: "m" },
  ],
  [
    "white space everywhere",
    ' \t{ "id" :\t5 ,\r "method" : "a" , "x" : { } } \r',
    { type: "request", id: "5", method: "a" },
  ],
  ["a newline behind", '{"id":5,"method":"a"}\n', { type: "request", id: "5", method: "a" }],
  ["CRLF behind", '{"id":5,"method":"a"}\r\n', { type: "request", id: "5", method: "a" }],
  ["a byte order mark in front", '\ufeff{"id":5,"method":"a"}', { type: "request", id: "5", method: "a" }],
  ["a batch", '[{"id":5,"method":"a"},{"method":"b"}]', { type: "batch" }],
  ["a batch with white space", ' [ {"x":"]"} ] \n', { type: "batch" }],
  ["an empty line", "\n", OPAQUE],
  ["nothing", "", OPAQUE],
  ["text", "Server listening on stdio\n", OPAQUE],
  ["text in brackets", "[INFO] listening\n", OPAQUE],
  ["text in braces", "{listening}\n", OPAQUE],
  ["an empty array", "[]", OPAQUE],
  ["an array of numbers", "[1,2]", OPAQUE],
  ["a JSON string", '"id"', OPAQUE],
  ["a JSON number", "5", OPAQUE],
  ["an empty object", "{}", OPAQUE],
  ["an object that is no message", '{"level":"info","message":"up"}', OPAQUE],
  ["an id alone", '{"id":5}', OPAQUE],
  ["an answer without an id", '{"result":{}}', OPAQUE],
  ["an answer whose id is true", '{"id":true,"result":{}}', OPAQUE],
  ["an answer whose id is an object", '{"id":{"a":1},"result":{}}', OPAQUE],
  ["a method that is no string", '{"id":5,"method":7}', OPAQUE],
  ["text behind the message", '{"id":5,"method":"a"} ok', OPAQUE],
  ["two messages on one line", '{"id":5,"method":"a"}{"id":6,"method":"b"}', OPAQUE],
  ["text behind a batch", '[{"id":5}] ok', OPAQUE],
  ["a comma too many", '{"id":5,"method":"a",}', OPAQUE],
  ["a comma too few", '{"id":5 "method":"a"}', OPAQUE],
  ["a missing colon", '{"id" 5,"method":"a"}', OPAQUE],
  ["a missing value", '{"id":,"method":"a"}', OPAQUE],
  ["a value that is no JSON", '{"id":5,"method":"a","x":yes}', OPAQUE],
  ["a number that is no JSON", '{"id":05,"method":"a"}', OPAQUE],
  ["a method with a broken escape", '{"id":5,"method":"\\q"}', OPAQUE],
  ["an id with a raw control character", '{"id":"a\tb","method":"a"}', OPAQUE],
  ["a message cut in a string", '{"id":5,"method":"a","x":"', OPAQUE],
  ["a message cut in an object", '{"id":5,"method":"a","x":{"y":1}', OPAQUE],
  ["a bracket that never closes", '{"id":5,"method":"a","x":[}', OPAQUE],
];

describe("readEnvelope", () => {
  test.each(ROWS)("reads %s, whole, byte by byte and cut anywhere", (_name, text, envelope) => {
    const line = Buffer.from(text);

    expect(readEnvelope(line)).toEqual(envelope);
    expect(readPieces(Array.from(line, (_, at) => line.subarray(at, at + 1)))).toEqual(envelope);
    for (let cut = 0; cut <= line.length; cut++) {
      expect(readPieces([line.subarray(0, cut), line.subarray(cut)]), `cut at ${cut}`).toEqual(envelope);
    }
  });

  test("reads a part of a buffer and nothing beside it", () => {
    const before = '{"id":1,"method":"x"}\n';
    const line = `{"id":5,"method":"a","x":"${"x".repeat(100)}`;
    const buffer = Buffer.from(`${before}${line}\n"}\n`);

    const envelope = readEnvelopeOf([], buffer, before.length, before.length + line.length + 1);

    expect(envelope).toEqual(OPAQUE);
  });

  test("finds the id behind a megabyte of strings, escapes and brackets", () => {
    const result = {
      text: `${"x".repeat(100_000)}\\"`.repeat(10),
      items: Array(1000).fill({ id: 1, method: '"' }),
    };
    const line = Buffer.from(JSON.stringify({ result, jsonrpc: "2.0", id: 77 }));

    expect(readEnvelope(line)).toEqual({ type: "response", id: "77", isError: false });
  });

  test("does not take an id or a method that is too long to be kept, in one piece or in many", () => {
    const fits = JSON.stringify({ id: "i".repeat(MAX_TOKEN_BYTES), method: "m" });
    const longId = JSON.stringify({ id: "i".repeat(MAX_TOKEN_BYTES + 1), result: {} });
    const longMethod = JSON.stringify({ id: 1, method: "m".repeat(5000) });

    expect(readEnvelope(Buffer.from(fits)).type).toBe("request");
    for (const text of [longId, longMethod]) {
      expect(readEnvelope(Buffer.from(text))).toEqual(OPAQUE);
      expect(readPieces(Array.from(text, (character) => Buffer.from(character)))).toEqual(OPAQUE);
    }
  });

  test("agrees with JSON.parse on every object, however it is written and cut", () => {
    fc.assert(
      fc.property(messageText, cuts, (text, at) => {
        const line = Buffer.from(text);

        expectLike(readEnvelope(line), text);
        expectLike(readPieces(cutAt(line, at)), text);
      }),
      { numRuns: 2000 },
    );
  });

  test("agrees with JSON.parse on long strings of quotes and backslashes, however they are cut", () => {
    const run = fc.tuple(fc.constantFrom("x", "\\", '"', '\\"'), fc.integer({ min: 1, max: 90 }));
    const text = fc
      .array(run, { maxLength: 8 })
      .map((runs) => runs.map(([unit, times]) => unit.repeat(times)).join(""));
    fc.assert(
      fc.property(text, text, fc.boolean(), cuts, (first, second, nested, at) => {
        const result = nested ? [first, { [second]: second }] : second;
        const message = JSON.stringify({ [first]: first, result, id: 5 });

        expectLike(readEnvelope(Buffer.from(message)), message);
        expectLike(readPieces(cutAt(Buffer.from(message), at)), message);
      }),
      { numRuns: 2000 },
    );
  });

  test("agrees with JSON.parse on long messages, in whatever order their keys are and however they are cut", () => {
    const filler = fc
      .array(fc.oneof(fc.jsonValue(), fc.constantFrom('","id":7}', "}]}\\", '\\",', "{[")), { maxLength: 40 })
      .map((values) => JSON.stringify([...values, "x".repeat(5000)]));
    const id = fc.oneof(fc.integer(), fc.string(), fc.constant(null)).map((value) => JSON.stringify(value));
    const member = (key: string, value: fc.Arbitrary<string>) =>
      value.map((raw) => `${JSON.stringify(key)}: ${raw}`);
    const known = [
      member("id", id),
      member("jsonrpc", fc.constant('"2.0"')),
      member("method", fc.constantFrom('"tools/call"', '"a\\/b"')),
    ];
    const nested = fc.constantFrom("params", "result", "error").chain((key) => member(key, filler));
    const message = fc.tuple(nested, fc.subarray(known), fc.boolean()).chain(([big, others, spaced]) =>
      fc
        .tuple(...others)
        .chain((texts) => fc.shuffledSubarray([big, ...texts], { minLength: texts.length + 1 }))
        .map((texts) => (spaced ? `{ ${texts.join(" , ")} }\r\n` : `{${texts.join(",")}}\n`)),
    );
    fc.assert(
      fc.property(message, fc.array(fc.nat(12_000), { maxLength: 3 }), (text, cuts) => {
        const line = Buffer.from(text);
        const pieces = cutAt(line, cuts);
        const tail = pieces.pop() as Buffer;

        expectLike(readEnvelopeOf(pieces, tail, 0, tail.length), text);
      }),
      { numRuns: 500 },
    );
  });

  test("agrees with JSON.parse on every line that JSON.parse accepts after bytes were changed", () => {
    const changes = fc.array(
      fc.tuple(fc.nat(300), fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('"\\{}[],: 0')))),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    fc.assert(
      fc.property(messageText, changes, (text, edits) => {
        const line = Buffer.from(text);
        for (const [at, byte] of edits) line[at % line.length] = byte;

        const envelope = readEnvelope(line);

        if (isJson(line.toString())) expectLike(envelope, line.toString());
      }),
      { numRuns: 2000 },
    );
  });

  test("takes no beginning of a message for a message", () => {
    fc.assert(
      fc.property(messageText, fc.nat(), (text, length) => {
        const line = Buffer.from(text.trimEnd());

        expect(readEnvelope(line.subarray(0, length % line.length))).toEqual(OPAQUE);
      }),
      { numRuns: 1000 },
    );
  });
});

function readPieces(pieces: readonly Buffer[]): Envelope {
  const last = pieces.at(-1) ?? Buffer.alloc(0);
  return readEnvelopeOf(pieces.slice(0, -1), last, 0, last.length);
}

const space = fc.constantFrom("", "", "", " ", "\t", "\r", "\n ");
const idValue = fc.oneof(
  fc.integer(),
  fc.string({ unit: "binary" }),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
);
const fieldName = fc.constantFrom("id", "method", "result", "error", "params", "jsonrpc", "_meta", "i", "ID");
const escapedName = fieldName.map(
  (name) => `\\u${name.charCodeAt(0).toString(16).padStart(4, "0")}${name.slice(1)}`,
);
const keyText = fc.oneof(
  fieldName.map((name) => `"${name}"`),
  escapedName.map((name) => `"${name}"`),
  fc.string({ unit: "binary" }).map((name) => JSON.stringify(name)),
);
const valueText = fc
  .oneof(idValue, fc.constantFrom("tools/call", "notifications/cancelled"), fc.jsonValue({ maxDepth: 3 }))
  .chain((value) => fc.constantFrom(JSON.stringify(value), JSON.stringify(value, null, 1)));
const member = fc
  .tuple(space, keyText, space, space, valueText, space)
  .map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`);
/** Objects whose keys may stand twice, be escaped, or hold any value. */
const messageText = fc
  .tuple(space, fc.array(member, { maxLength: 6 }), space)
  .map(([a, members, b]) => `${a}{${members.join(",")}}${b}`);
const cuts = fc.array(fc.nat(), { maxLength: 5 });

function cutAt(line: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.map((place) => place % (line.length + 1)).sort((a, b) => a - b), line.length];
  return places.slice(1).map((end, index) => line.subarray(places[index], end));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What the envelope has to be, by way of JSON.parse; the id is compared by its value. */
function expectLike(envelope: Envelope, text: string): void {
  const message: unknown = JSON.parse(text);
  const withValue = "id" in envelope ? { ...envelope, id: JSON.parse(envelope.id) } : envelope;
  expect(withValue).toEqual(reference(message));
}

function reference(message: unknown): unknown {
  if (Array.isArray(message)) return isObject(message[0]) ? { type: "batch" } : OPAQUE;
  if (!isObject(message)) return OPAQUE;
  const { id, method, result, error } = message;
  const isId = typeof id === "string" || typeof id === "number";
  if (typeof method === "string")
    return isId ? { type: "request", id, method } : { type: "notification", method };
  if (!(isId || id === null) || (result === undefined && error === undefined)) return OPAQUE;
  return { type: "response", id, isError: error !== undefined && error !== null };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import type { Envelope } from "../../src/relay/envelope.ts";
import { answerOverlong, errorResponse } from "../../src/relay/error-response.ts";
import { LineSink } from "../../src/relay/line-sink.ts";

describe("errorResponse", () => {
  test.each(["5", '"listen:0"', '"\\u0035"', "-1.5e3"])("answers the id %s as it was written", (id) => {
    const line = errorResponse(id, "Cannot start").toString();

    expect(line).toBe(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32603,"message":"Cannot start"}}\n`);
  });

  test("is one line whatever the message holds", () => {
    const message = 'a "quoted"\nword\r\u0000 and \\ 🔑';
    const line = errorResponse("1", message).toString();

    expect(line.indexOf("\n")).toBe(line.length - 1);
    expect(JSON.parse(line).error.message).toBe(message);
  });
});

describe("answerOverlong", () => {
  test.each<[string, Envelope, string[]]>([
    ["a request to its sender", { type: "request", id: "5", method: "a" }, ["sender"]],
    ["an answer to its receiver", { type: "response", id: "5", isError: false }, ["receiver"]],
    ["a notification to nobody", { type: "notification", method: "a" }, []],
    ["what is no message to nobody", { type: "opaque" }, []],
    ["a batch to nobody", { type: "batch" }, []],
  ])("answers %s", (_name, envelope, told) => {
    const said: Record<string, string> = {};
    const sinkOf = (side: string) =>
      new LineSink(
        new Writable({
          write(chunk, _encoding, done) {
            said[side] = `${chunk}`;
            done();
          },
        }),
      );

    answerOverlong({ length: 200, envelope }, 100, {
      toSender: sinkOf("sender"),
      toReceiver: sinkOf("receiver"),
    });

    expect(Object.keys(said)).toEqual(told);
    for (const line of Object.values(said)) {
      expect(JSON.parse(line)).toMatchObject({
        id: 5,
        error: { code: -32603, message: "message of 200 bytes exceeds the limit of 100" },
      });
    }
  });
});

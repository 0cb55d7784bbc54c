/** What a session tells of tool calls, from the lines of its client and its servers. */
import { beforeEach, describe, expect, it } from "vitest";
import { CallWatch, type EndedCall } from "../../src/relay/calls.ts";
import { Line } from "../../src/relay/line.ts";
import { Session } from "../../src/relay/session.ts";

const SECRET = "canary-parameter";

let now: number;
let ended: EndedCall[];
let session: Session;

beforeEach(() => {
  now = 0;
  ended = [];
  session = new Session({
    calls: new CallWatch(
      () => now,
      (call) => ended.push(call),
    ),
  });
  session.begin(1);
  session.takeOver(1);
});

const line = (message: unknown) => new Line([], Buffer.from(`${JSON.stringify(message)}\n`));
const request = (id: number | string, name: unknown = "search") => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: { q: SECRET, name: "inner" } },
});
const answer = (id: number | string, rest: object) => ({ jsonrpc: "2.0", id, ...rest });
const ask = (...args: Parameters<typeof request>) => session.clientSaid(line(request(...args)));

describe("a tool call", () => {
  it.each<[how: string, rest: object, expected: Partial<EndedCall>]>([
    ["a result", { result: { content: [{ type: "text", text: SECRET }] } }, { outcome: "ok" }],
    ["a result without error", { result: { content: [], isError: false } }, { outcome: "ok" }],
    ["a result that is an error", { result: { content: [], isError: true } }, { outcome: "tool-error" }],
    [
      "a text that speaks of isError",
      { result: { content: [{ type: "text", text: '"isError":true' }], x: { isError: true } } },
      { outcome: "ok" },
    ],
    ["an error", { error: { code: -32602, message: SECRET } }, { outcome: "error", code: -32602 }],
    ["an error without a number", { error: { code: "no", message: "x" } }, { outcome: "error" }],
  ])("that ends with %s is told so, and nothing of what was said", (_how, rest, expected) => {
    ask(7);
    now = 12.5;
    session.serverSaid(1, line(answer(7, rest)));

    expect(ended).toEqual([{ tool: "search", ms: 12.5, generation: 1, ...expected }]);
  });

  it.each([
    ["a name of 10,000 characters", "x".repeat(10_000)],
    ["no text", 5],
    ["nothing", undefined],
  ])("with %s for a name has none", (_what, name) => {
    session.clientSaid(line({ ...request(1), params: { name } }));
    session.serverSaid(1, line(answer(1, { result: {} })));

    expect(ended).toMatchObject([{ tool: "", outcome: "ok" }]);
  });

  it("is found in a name that is no JSON, and does no harm", () => {
    session.clientSaid(
      new Line([], Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\x"}}\n')),
    );
    session.serverSaid(1, line(answer(1, { result: {} })));

    expect(ended).toMatchObject([{ tool: "", outcome: "ok" }]);
  });

  it("that the client cancels is told once, also if the server answers all the same", () => {
    ask("a");
    session.clientSaid(
      line({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "a" } }),
    );
    session.serverSaid(1, line(answer("a", { result: {} })));

    expect(ended).toMatchObject([{ outcome: "cancelled" }]);
  });

  it("is lost with its server, and belongs to the one that had it", () => {
    ask(1);
    session.begin(2);
    session.takeOver(2);
    ask(2, "other");
    session.over(1, "the server has ended");
    session.serverSaid(2, line(answer(2, { result: {} })));

    expect(ended).toMatchObject([
      { tool: "search", outcome: "lost", generation: 1 },
      { tool: "other", outcome: "ok", generation: 2 },
    ]);
  });

  it("whose id the client gives to another request is not forgotten", () => {
    ask(1, "delete_all");
    ask(1, "search");
    session.serverSaid(1, line(answer(1, { result: {} })));

    expect(ended).toMatchObject([
      { tool: "delete_all", outcome: "lost" },
      { tool: "search", outcome: "ok" },
    ]);
  });

  it("counts from when a server gets it", () => {
    session.hold();
    ask(1);
    now = 100;
    session.begin(2);
    session.takeOver(2);
    now = 130;
    session.serverSaid(2, line(answer(1, { result: {} })));

    expect(ended).toMatchObject([{ ms: 30, generation: 2 }]);
  });

  it("whose answer was too long to be passed on is an error, as its client was told", () => {
    ask(1);
    session.serverAnsweredTooLong(1, "1");

    expect(ended).toMatchObject([{ outcome: "error", code: -32603 }]);
  });

  it("in a batch is one of its own", () => {
    session.clientSaid(line([request(1, "a"), request(2, "b")]));
    session.serverSaid(1, line([answer(2, { result: {} }), answer(1, { error: { code: 1, message: "" } })]));

    expect(ended).toMatchObject([
      { tool: "b", outcome: "ok" },
      { tool: "a", outcome: "error", code: 1 },
    ]);
  });

  it("of the modern protocol is told as any other", () => {
    session.clientSaid(
      line({
        ...request(1),
        params: { ...request(1).params, _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } },
      }),
    );
    session.serverSaid(1, line(answer(1, { result: { resultType: "complete", content: [] } })));

    expect(ended).toMatchObject([{ tool: "search", outcome: "ok" }]);
  });

  it("is the only request that is told", () => {
    session.clientSaid(line({ jsonrpc: "2.0", id: 1, method: "tools/list" }));
    session.serverSaid(1, line(answer(1, { result: { isError: true } })));

    expect(ended).toEqual([]);
  });
});

import { describe, expect, test } from "vitest";
import { MAX_UNANSWERED, RequestLedger } from "../../src/relay/ledger.ts";
import { Line } from "../../src/relay/line.ts";

function line(message: unknown): Line {
  return new Line([], Buffer.from(`${typeof message === "string" ? message : JSON.stringify(message)}\n`));
}

function ask(ledger: RequestLedger, ...ids: (string | number)[]): void {
  for (const id of ids) ledger.clientSaid(line({ jsonrpc: "2.0", id, method: "tools/call" }));
}

function answer(ledger: RequestLedger, id: unknown): void {
  ledger.serverSaid(line({ result: {}, jsonrpc: "2.0", id }));
}

function idsOf(ledger: RequestLedger): string[] {
  return ledger.requests.map((request) => request.id);
}

describe("RequestLedger", () => {
  test("knows the unanswered requests in the order in which they came", () => {
    const ledger = new RequestLedger();
    ask(ledger, 1, "two", 3);
    answer(ledger, 1);

    expect(ledger.requests).toEqual([
      { id: '"two"', method: "tools/call" },
      { id: "3", method: "tools/call" },
    ]);
    expect(ledger.unanswered).toBe(2);
  });

  test("takes an error for an answer", () => {
    const ledger = new RequestLedger();
    ask(ledger, 1);
    ledger.serverSaid(line({ jsonrpc: "2.0", id: 1, error: { code: -32601, message: "no" } }));

    expect(ledger.unanswered).toBe(0);
    expect(ledger.hasAnswered).toBe(true);
  });

  test("says whether the server has ever answered a request of the client", () => {
    const ledger = new RequestLedger();
    ask(ledger, 1);
    ledger.serverSaid(line({ method: "notifications/message", params: { id: 1 } }));
    ledger.serverSaid(line({ id: 1, method: "roots/list" }));
    answer(ledger, 99);
    answer(ledger, null);
    expect(ledger.hasAnswered).toBe(false);

    answer(ledger, 1);
    expect(ledger.hasAnswered).toBe(true);
  });

  test("tells each time when the last request is answered, and never while one is open", () => {
    const idleAt: string[] = [];
    let now = "";
    const ledger = new RequestLedger({ onIdle: () => idleAt.push(now) });
    ask(ledger, 1, 2);
    for (now of ["1", "2", "2 again"]) answer(ledger, Number(now[0]));
    ask(ledger, 3);
    now = "3";
    answer(ledger, 3);

    expect(idleAt).toEqual(["2", "3"]);
  });

  test("knows an answer whose id is written in another way", () => {
    const rows: [string, string][] = [
      ["5", '"5"'],
      ['"5"', "5"],
      ["5", "5.0"],
      ["100", "1e2"],
      ['"\\u0061b"', '"ab"'],
      ['"a/b"', '"a\\/b"'],
    ];
    for (const [asked, answered] of rows) {
      const ledger = new RequestLedger();
      ledger.clientSaid(line(`{"id":${asked},"method":"a"}`));
      ledger.serverSaid(line(`{"id":${answered},"result":{}}`));
      expect(ledger.unanswered, `${asked} answered as ${answered}`).toBe(0);
    }
  });

  test("keeps a number and a string apart while both are open", () => {
    const ledger = new RequestLedger();
    ask(ledger, 5, "5");
    answer(ledger, "5");
    expect(idsOf(ledger)).toEqual(["5"]);

    answer(ledger, 5);
    expect(ledger.unanswered).toBe(0);
  });

  test("does not count a subscription that never ends", () => {
    const ledger = new RequestLedger();
    ledger.clientSaid(line({ id: "listen:0", method: "subscriptions/listen" }));

    expect(ledger.unanswered).toBe(0);
  });

  test("does not count notifications, answers of the client, and lines that are no message", () => {
    const ledger = new RequestLedger();
    ledger.clientSaid(line({ method: "notifications/initialized" }));
    ledger.clientSaid(line({ id: 1, result: {} }));
    ledger.clientSaid(line("hello"));

    expect(ledger.unanswered).toBe(0);
  });

  test("does not count a cancelled request any more, and is idle after the last one", () => {
    let idle = 0;
    const ledger = new RequestLedger({ onIdle: () => idle++ });
    ask(ledger, 7, "x");
    ledger.clientSaid(line({ method: "notifications/cancelled", params: { requestId: 7, reason: "late" } }));
    expect(idsOf(ledger)).toEqual(['"x"']);

    ledger.clientSaid(line({ method: "notifications/cancelled", params: { requestId: "x" } }));
    expect(ledger.unanswered).toBe(0);
    expect(idle).toBe(1);
    expect(ledger.hasAnswered).toBe(false);
  });

  test.each([
    ["no params", '{"method":"notifications/cancelled"}'],
    ["no request id", '{"method":"notifications/cancelled","params":{}}'],
    ["a request id of another kind", '{"method":"notifications/cancelled","params":{"requestId":{"a":1}}}'],
    ["a null request id", '{"method":"notifications/cancelled","params":{"requestId":null}}'],
    ["an unknown request id", '{"method":"notifications/cancelled","params":{"requestId":8}}'],
    ["params that are no JSON", '{"method":"notifications/cancelled","params":{"requestId":7,}}'],
  ])("bears a cancellation with %s", (_name, text) => {
    const ledger = new RequestLedger();
    ask(ledger, 7);
    ledger.clientSaid(line(text));

    expect(idsOf(ledger)).toEqual(["7"]);
  });

  test("opens batches of both sides", () => {
    const ledger = new RequestLedger();
    ledger.clientSaid(
      line([
        { id: 1, method: "a", params: { "}]": '[{\\"' } },
        { method: "notifications/initialized" },
        { id: 2, method: "b", params: [{ id: 9, method: "c" }] },
        { id: 3, method: "subscriptions/listen" },
      ]),
    );
    expect(idsOf(ledger)).toEqual(["1", "2"]);

    ledger.clientSaid(line([{ method: "notifications/cancelled", params: { requestId: 2 } }]));
    ledger.serverSaid(
      line([
        { id: 1, result: {} },
        { id: 4, error: {} },
      ]),
    );
    expect(ledger.unanswered).toBe(0);
    expect(ledger.hasAnswered).toBe(true);
  });

  test("can be told of an answer that was too long to be relayed", () => {
    const ledger = new RequestLedger();
    ask(ledger, 1);
    ledger.answered("1");

    expect(ledger.unanswered).toBe(0);
    expect(ledger.hasAnswered).toBe(true);
  });

  test("hands the unanswered requests over once", () => {
    const ledger = new RequestLedger();
    ask(ledger, 1, 2);

    expect(ledger.takeUnanswered().map((request) => request.id)).toEqual(["1", "2"]);
    expect(ledger.takeUnanswered()).toEqual([]);
    expect(ledger.unanswered).toBe(0);
  });

  test("remembers a bounded number of requests", () => {
    const ledger = new RequestLedger();
    for (let id = 0; id <= MAX_UNANSWERED; id++) ask(ledger, id);
    expect(ledger.unanswered).toBe(MAX_UNANSWERED);

    answer(ledger, MAX_UNANSWERED);
    expect(ledger.unanswered).toBe(MAX_UNANSWERED);
    answer(ledger, 0);
    expect(ledger.unanswered).toBe(MAX_UNANSWERED - 1);
  });
});

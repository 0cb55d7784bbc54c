import { describe, expect, it } from "vitest";
import { Line } from "../../src/relay/line.ts";
import { Session } from "../../src/relay/session.ts";

const line = (message: unknown) =>
  new Line([], Buffer.from(`${typeof message === "string" ? message : JSON.stringify(message)}\n`));
const request = (id: unknown, method = "tools/call", params: object = {}) =>
  line({ jsonrpc: "2.0", id, method, params });
const notification = (method: string, params: object = {}) => line({ jsonrpc: "2.0", method, params });
const answer = (id: unknown, result: object = {}) => line({ result, jsonrpc: "2.0", id });
const said = (buffers: readonly Buffer[] | boolean) =>
  typeof buffers === "boolean" ? buffers : buffers.map((bytes) => JSON.parse(bytes.toString()));

/** A session whose first server has been introduced in the older way. */
function legacySession(idle: number[] = []): Session {
  const session = new Session({ onIdle: (number) => idle.push(number) });
  session.begin(1);
  session.takeOver(1);
  session.clientSaid(request(0, "initialize", { protocolVersion: "2025-11-25", capabilities: {} }));
  session.serverSaid(1, answer(0, { protocolVersion: "2025-11-25", capabilities: { tools: {} } }));
  session.clientSaid(notification("notifications/initialized"));
  return session;
}

/** The second server has taken over, the first one still has request 7. */
function swapped(idle: number[] = []): Session {
  const session = legacySession(idle);
  session.clientSaid(request(7));
  session.begin(2);
  session.takeOver(2);
  return session;
}

describe("a session with one server", () => {
  it.each([
    request(1),
    request("1"),
    notification("notifications/roots/list_changed"),
    notification("notifications/cancelled", { requestId: 99 }),
    answer(5),
    line("no json"),
    line([{ jsonrpc: "2.0", id: 3, method: "ping" }]),
  ])("passes what the client says as it is: %#", (said) => {
    expect(legacySession().clientSaid(said)).toEqual({ to: "current" });
  });

  it.each([
    answer(42),
    request(0, "sampling/createMessage"),
    notification("notifications/tools/list_changed"),
    line("no json"),
    line([{ jsonrpc: "2.0", id: 3, result: {} }]),
  ])("passes what the server says as it is: %#", (said) => {
    expect(legacySession().serverSaid(1, said)).toBe(true);
  });

  it("tells no later server what the client was told has failed, of those that wait and those under way", () => {
    const session = legacySession();
    session.clientSaid(request(1, "resources/subscribe", { uri: "file:///under-way" }));
    session.over(1, "gone");
    session.clientSaid(request(2, "resources/subscribe", { uri: "file:///held" }));
    session.clientSaid(request(3, "logging/setLevel", { level: "debug" }));
    expect(said(session.refuseHeld("too late"))).toMatchObject([{ id: 2 }, { id: 3 }]);

    const steps = session.recall.stepsSince(0).map(({ line: bytes }) => bytes.toString());
    expect(steps.join("")).not.toMatch(/subscribe|setLevel/);
    expect(session.held.bytes).toBe(0);
  });

  it("opens no listen again that the client was told has failed", () => {
    const session = new Session();
    session.begin(1);
    session.takeOver(1);
    const meta = { _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } };
    session.clientSaid(request(0, "tools/list", meta));
    session.over(1, "gone");
    session.clientSaid(request("listen:0", "subscriptions/listen", meta));
    expect(session.recall.isListen('"listen:0"')).toBe(true);
    session.refuseHeld("too late");

    expect(session.recall.isListen('"listen:0"')).toBe(false);
    expect(session.recall.stepsSince(0)).toEqual([]);
  });

  it("holds what comes while there is no server, and hands it over in order", () => {
    const session = legacySession();
    session.over(1, "gone");

    expect(session.clientSaid(request(1))).toEqual({ to: "held" });
    expect(session.clientSaid(notification("notifications/roots/list_changed"))).toEqual({ to: "held" });
    expect(session.clientSaid(request(2))).toEqual({ to: "held" });
    session.begin(2);
    const held = session.takeOver(2).map((bytes) => JSON.parse(bytes.toString()));

    expect(held.map(({ id, method }) => id ?? method)).toEqual([1, "notifications/roots/list_changed", 2]);
    expect(session.unanswered(2).map(({ id }) => id)).toEqual(["1", "2"]);
  });

  it("answers a ping itself while there is no server", () => {
    const session = legacySession();
    session.over(1, "gone");

    const verdict = session.clientSaid(request("p", "ping"));

    expect(verdict.to === "client" && JSON.parse(verdict.bytes.toString())).toEqual({
      jsonrpc: "2.0",
      id: "p",
      result: {},
    });
  });

  it("forgets a held request that the client cancels", () => {
    const session = legacySession();
    session.hold();
    session.clientSaid(request(1));
    session.clientSaid(request(2));

    expect(session.clientSaid(notification("notifications/cancelled", { requestId: 1 }))).toEqual({
      to: "nobody",
    });

    expect(session.takeOver(1).map((bytes) => JSON.parse(bytes.toString()).id)).toEqual([2]);
  });

  it("has requests wait until they are let go, whoever takes over meanwhile", () => {
    const session = legacySession();
    session.clientSaid(request(1));
    session.withhold();
    session.clientSaid(request(2));
    session.begin(2);

    expect(session.takeOver(2)).toEqual([]);
    expect(session.clientSaid(request(3))).toEqual({ to: "held" });
    expect(session.unanswered(1).map(({ id }) => id)).toEqual(["1"]);

    expect(session.letGo().map((bytes) => JSON.parse(bytes.toString()).id)).toEqual([2, 3]);
    expect(session.unanswered(2).map(({ id }) => id)).toEqual(["2", "3"]);
    expect(session.clientSaid(request(4))).toEqual({ to: "current" });
  });

  it("lets pings, answers and cancellations pass while requests wait", () => {
    const session = legacySession();
    session.clientSaid(request(1));
    session.serverSaid(1, request(0, "roots/list"));
    session.withhold();
    session.clientSaid(request(2));

    expect(session.clientSaid(request("p", "ping"))).toEqual({ to: "current" });
    const reply = answer(0);
    expect(session.clientSaid(reply)).toEqual({
      to: "some",
      letters: [{ generation: 1, bytes: reply.bytes }],
    });
    expect(session.clientSaid(notification("notifications/cancelled", { requestId: 1 }))).toEqual({
      to: "current",
    });
    expect(session.clientSaid(notification("notifications/cancelled", { requestId: 2 }))).toEqual({
      to: "nobody",
    });
    expect(session.letGo()).toEqual([]);
  });

  it("keeps what is let go while there is no server for the next one", () => {
    const session = legacySession();
    session.withhold();
    session.clientSaid(request(1));
    session.lost(1);
    session.over(1, "gone");

    expect(session.letGo()).toEqual([]);
    session.begin(2);
    expect(session.takeOver(2).map((bytes) => JSON.parse(bytes.toString()).id)).toEqual([1]);
  });

  it("answers each request of a dead server once, and tells the client what nobody waits for", () => {
    const session = legacySession();
    session.clientSaid(request(1));
    session.clientSaid(request("two"));
    session.serverSaid(1, answer(1));
    session.serverSaid(1, request(0, "roots/list"));

    const owed = said(session.over(1, "server restarted, generation 2"));

    expect(owed).toEqual([
      { jsonrpc: "2.0", id: "two", error: { code: -32603, message: "server restarted, generation 2" } },
      {
        jsonrpc: "2.0",
        method: "notifications/cancelled",
        params: { requestId: 0, reason: "the server was restarted" },
      },
    ]);
    expect(session.over(1, "again")).toEqual([]);
    expect(session.serverSaid(1, answer("two"))).toBe(false);
    expect(session.clientSaid(answer(0))).toEqual({ to: "nobody" });
  });
});

describe("a session between two servers", () => {
  it("gives new requests to the new one, and lets the old one finish its own", () => {
    const idle: number[] = [];
    const session = swapped(idle);

    expect(session.clientSaid(request(8))).toEqual({ to: "current" });
    expect(session.isBusy(1)).toBe(true);
    expect(session.serverSaid(1, answer(7))).toBe(true);
    expect(session.serverSaid(2, answer(8))).toBe(true);

    expect(idle.filter((number) => number === 1)).toContain(1);
    expect(session.isBusy(1)).toBe(false);
  });

  it("sends a cancel where the request is", () => {
    const session = swapped();
    session.clientSaid(request(8));

    const old = session.clientSaid(notification("notifications/cancelled", { requestId: 7 }));
    const current = session.clientSaid(notification("notifications/cancelled", { requestId: 8 }));
    const unknown = session.clientSaid(notification("notifications/cancelled", { requestId: 99 }));

    expect(old.to === "some" && old.letters.map(({ generation }) => generation)).toEqual([1]);
    expect(current).toEqual({ to: "current" });
    expect(unknown).toEqual({ to: "nobody" });
    expect(session.isBusy(1)).toBe(false);
  });

  it("sends other notifications to both", () => {
    const verdict = swapped().clientSaid(notification("notifications/roots/list_changed"));

    expect(verdict.to === "some" && verdict.letters.map(({ generation }) => generation)).toEqual([1, 2]);
  });

  it("tells the questions of two servers with the same ids and tokens apart", () => {
    const session = swapped();
    const ask = request(0, "sampling/createMessage", { _meta: { progressToken: 0 }, messages: [] });

    const [first, second] = [session.serverSaid(1, ask), session.serverSaid(2, ask)];
    expect(first).toBe(true);
    const [renamed] = said(second) as { id: string; params: { _meta: { progressToken: string } } }[];
    const { id = "", params } = renamed ?? {};
    expect(id).toMatch(/^mcp-run-2-/);
    const token = params?._meta.progressToken;
    const progress = session.clientSaid(
      notification("notifications/progress", { progressToken: token, progress: 1 }),
    );
    const answers = [session.clientSaid(answer(id, { ok: 2 })), session.clientSaid(answer(0, { ok: 1 }))];

    const letters = [progress, ...answers].flatMap((verdict) =>
      verdict.to === "some" ? verdict.letters : [],
    );
    expect(letters.map(({ generation, bytes }) => [generation, JSON.parse(bytes.toString())])).toEqual([
      [2, { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: 0, progress: 1 } }],
      [2, { jsonrpc: "2.0", id: 0, result: { ok: 2 } }],
      [1, { jsonrpc: "2.0", id: 0, result: { ok: 1 } }],
    ]);
    expect(session.clientSaid(answer(id))).toEqual({ to: "nobody" });
  });

  it("names a withdrawn question as the client knows it", () => {
    const session = swapped();
    const [asked] = said(session.serverSaid(2, request(3, "elicitation/create"))) as { id: string }[];

    const withdrawn = said(session.serverSaid(2, notification("notifications/cancelled", { requestId: 3 })));

    expect(withdrawn).toMatchObject([{ params: { requestId: asked?.id } }]);
  });

  it.each(["cursor", "taskId", "requestState"])(
    "sends a request with a %s to the server that gave it out",
    (word) => {
      const session = swapped();
      const given =
        word === "cursor" ? { nextCursor: "new" } : { [word]: "new", resultType: "input_required" };
      session.clientSaid(request(8));
      session.serverSaid(2, answer(8, given));

      const toOld = session.clientSaid(request(9, "tools/list", { [word]: "old" }));
      const toNew = session.clientSaid(request(10, "tools/list", { [word]: "new" }));

      expect(toOld.to === "some" && toOld.letters.map(({ generation }) => generation)).toEqual([1]);
      expect(toNew).toEqual({ to: "current" });
      session.over(1, "gone");
      expect(session.clientSaid(request(11, "tools/list", { [word]: "old" }))).toEqual({ to: "current" });
    },
  );

  it.each([
    ["notifications/tools/list_changed", false],
    ["notifications/resources/updated", false],
    ["notifications/message", true],
    ["notifications/progress", true],
  ])("passes %s of the old server: %s", (method, passes) => {
    expect(swapped().serverSaid(1, notification(method))).toBe(passes);
  });

  it("drops everything of a server that was given up", () => {
    const session = swapped();

    const owed = said(session.abandon(1, "too slow"));

    expect(owed).toMatchObject([{ id: 7, error: { code: -32603 } }]);
    expect(session.serverSaid(1, answer(7))).toBe(false);
    expect(session.serverSaid(1, notification("notifications/message"))).toBe(false);
  });

  it("keeps the answers to our own requests from the client", () => {
    const session = legacySession();
    session.begin(2);
    const answers: string[] = [];
    session.expect(2, "0", (line) => answers.push(line.bytes.toString()));

    expect(session.serverSaid(2, answer(0, { own: true }))).toBe(false);
    expect(session.serverSaid(2, notification("notifications/tools/list_changed"))).toBe(false);

    expect(answers).toEqual(['{"result":{"own":true},"jsonrpc":"2.0","id":0}\n']);
  });

  it("takes a batch apart, so that each member goes its own way", () => {
    const session = swapped();
    const verdict = session.clientSaid(
      line([
        { jsonrpc: "2.0", id: 8, method: "tools/call" },
        { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 7 } },
      ]),
    );

    expect(verdict.to === "some" && verdict.letters.map(({ generation }) => generation)).toEqual([2, 1]);
  });
});

describe("a session in the newer way", () => {
  const META = "io.modelcontextprotocol";
  const meta = { _meta: { [`${META}/protocolVersion`]: "2026-07-28" } };
  const acknowledged = (id: string) =>
    notification("notifications/subscriptions/acknowledged", { _meta: { [`${META}/subscriptionId`]: id } });

  function modernSession(): Session {
    const session = new Session();
    session.begin(1);
    session.takeOver(1);
    session.clientSaid(request(1, "server/discover", meta));
    session.serverSaid(1, answer(1, { supportedVersions: ["2026-07-28"], capabilities: {} }));
    session.clientSaid(request("listen:0", "subscriptions/listen", meta));
    session.serverSaid(1, acknowledged("listen:0"));
    return session;
  }

  it("never waits for a listen, and never answers it", () => {
    const session = modernSession();

    expect(session.isBusy(1)).toBe(false);
    expect(session.over(1, "gone")).toEqual([]);
  });

  it("moves a listen without the client noticing", () => {
    const session = modernSession();
    session.begin(2);
    session.repeatedListen(2, '"listen:0"');
    expect(session.serverSaid(2, acknowledged("listen:0"))).toBe(false);
    session.takeOver(2);

    expect(session.serverSaid(1, answer("listen:0"))).toBe(false);
    expect(session.serverSaid(1, notification("notifications/cancelled", { requestId: "listen:0" }))).toBe(
      false,
    );
    expect(session.serverSaid(2, notification("notifications/tools/list_changed"))).toBe(true);
    expect(session.recall.openListens.map(({ id }) => id)).toEqual(['"listen:0"']);
  });

  it("lets the first acknowledgement of a listen through, whoever gives it, and no other", () => {
    const session = modernSession();
    session.clientSaid(request("listen:1", "subscriptions/listen", meta));
    session.begin(2);
    session.repeatedListen(2, '"listen:1"');
    session.takeOver(2);

    const verdicts = [2, 1, 2].map((number) => session.serverSaid(number, acknowledged("listen:1")));

    expect(verdicts).toEqual([true, false, false]);
  });

  it("tells a server that has not taken over yet that a listen it has heard of is over", () => {
    const session = modernSession();
    session.begin(2);
    session.repeatedListen(2, '"listen:0"');

    const verdict = session.clientSaid(notification("notifications/cancelled", { requestId: "listen:0" }));

    expect(verdict.to === "some" && verdict.letters.map(({ generation }) => generation)).toEqual([1, 2]);
  });

  it("lets the client and the current server end a listen", () => {
    const [byClient, byServer] = [modernSession(), modernSession()];

    expect(byClient.clientSaid(notification("notifications/cancelled", { requestId: "listen:0" }))).toEqual({
      to: "current",
    });
    expect(byServer.serverSaid(1, answer("listen:0"))).toBe(true);

    expect([byClient.recall.openListens, byServer.recall.openListens]).toEqual([[], []]);
  });

  it("counts an exchange that waits for more input as busy until it goes on", () => {
    const session = modernSession();
    session.clientSaid(request(5, "tools/call", meta));
    session.serverSaid(1, answer(5, { resultType: "input_required", requestState: "s1" }));
    session.begin(2);
    session.takeOver(2);
    expect(session.isBusy(1)).toBe(true);

    const next = session.clientSaid(request(6, "tools/call", { ...meta, requestState: "s1" }));
    expect(next.to === "some" && next.letters[0]?.generation).toBe(1);
    session.serverSaid(1, answer(6, { resultType: "complete" }));

    expect(session.isBusy(1)).toBe(false);
  });
});

import { describe, expect, it } from "vitest";
import { Line } from "../../src/relay/line.ts";
import { faceOf, Recall, sameFace } from "../../src/relay/recall.ts";

const line = (message: object) =>
  new Line([], Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`));
const INITIALIZE = line({ id: 0, method: "initialize", params: { protocolVersion: "2025-11-25" } });
const INITIALIZED = line({ method: "notifications/initialized" });
const level = (id: number, to: string) => line({ id, method: "logging/setLevel", params: { level: to } });
const subscribe = (id: number, uri: string) => line({ id, method: "resources/subscribe", params: { uri } });
const unsubscribe = (id: number, uri: string) =>
  line({ id, method: "resources/unsubscribe", params: { uri } });
const META = { _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } };

function introduced(): Recall {
  const recall = new Recall();
  recall.clientSaid(INITIALIZE);
  recall.serverAnswered(
    { id: "0", method: "initialize" },
    line({ id: 0, result: { protocolVersion: "2025-11-25", capabilities: { tools: {} } } }),
  );
  recall.clientSaid(INITIALIZED);
  return recall;
}

const steps = (recall: Recall, since = 0) =>
  recall.stepsSince(since).map(({ line }) => {
    const { method, params } = JSON.parse(line.toString());
    return [method, params?.uri ?? params?.level].filter((word) => word !== undefined).join(" ");
  });

describe("who the client is", () => {
  const clientInfo = { name: "claude-ai", version: "1.2" };

  it("is what it said, in either protocol, and unknown before that", () => {
    const legacy = new Recall();
    const modern = new Recall();
    expect([legacy.client, introduced().client]).toEqual([undefined, undefined]);

    legacy.clientSaid(line({ id: 0, method: "initialize", params: { clientInfo } }));
    const _meta = { ...META._meta, "io.modelcontextprotocol/clientInfo": clientInfo };
    modern.clientSaid(line({ id: 0, method: "tools/list", params: { _meta } }));

    expect([legacy.client, modern.client]).toEqual([clientInfo, clientInfo]);
  });

  it("is unknown of one that says something else than a name", () => {
    const recall = new Recall();
    recall.clientSaid(line({ id: 0, method: "initialize", params: { clientInfo: { name: ["x"] } } }));
    expect(recall.client).toBeUndefined();
  });
});

describe("what another server must hear", () => {
  it("is the introduction, byte for byte, then what the client has set", () => {
    const recall = introduced();
    recall.clientSaid(level(1, "debug"));
    recall.clientSaid(subscribe(2, "file:///a"));
    recall.clientSaid(level(3, "error"));

    expect(steps(recall)).toEqual([
      "initialize",
      "notifications/initialized",
      "resources/subscribe file:///a",
      "logging/setLevel error",
    ]);
    expect(recall.stepsSince(0)[0]?.line).toEqual(INITIALIZE.bytes);
  });

  it("is known also of a client that does not wait for the answer to its introduction", () => {
    const recall = new Recall();
    recall.clientSaid(INITIALIZE);
    recall.clientSaid(INITIALIZED);
    expect(recall.isIntroduced).toBe(false);

    recall.serverAnswered({ id: "0", method: "initialize" }, line({ id: 0, result: { capabilities: {} } }));

    expect(recall.isIntroduced).toBe(true);
    expect(steps(recall)).toEqual(["initialize", "notifications/initialized"]);
  });

  it("is nothing more once it has heard everything, and then only what is new", () => {
    const recall = introduced();
    const end = recall.beginReplay();
    const heard = recall.revision;
    expect(steps(recall, heard)).toEqual([]);

    recall.clientSaid(subscribe(2, "file:///a"));

    expect(steps(recall, heard)).toEqual(["resources/subscribe file:///a"]);
    end();
  });

  it("leaves out what was taken back, unless it may have been heard meanwhile", () => {
    const recall = introduced();
    recall.clientSaid(subscribe(2, "file:///a"));
    recall.clientSaid(unsubscribe(3, "file:///a"));
    expect(steps(recall)).toEqual(["initialize", "notifications/initialized"]);

    recall.clientSaid(subscribe(4, "file:///b"));
    const end = recall.beginReplay();
    const heard = recall.revision;
    recall.clientSaid(unsubscribe(5, "file:///b"));

    expect(steps(recall, heard)).toEqual(["resources/unsubscribe file:///b"]);
    expect(steps(recall)).toEqual(["initialize", "notifications/initialized"]);
    end();
    expect(steps(recall, heard)).toEqual([]);
  });

  it("leaves out what the server has refused", () => {
    const recall = introduced();
    recall.clientSaid(subscribe(2, "file:///a"));

    recall.serverAnswered(
      { id: "2", method: "resources/subscribe" },
      line({ id: 2, error: { code: -32601, message: "no" } }),
    );

    expect(steps(recall)).toEqual(["initialize", "notifications/initialized"]);
  });

  it("begins anew when the client does", () => {
    const recall = introduced();
    recall.clientSaid(level(1, "debug"));

    recall.clientSaid(INITIALIZE);

    expect(steps(recall)).toEqual(["initialize"]);
    expect(recall.isIntroduced).toBe(false);
  });
});

describe("the era of a session", () => {
  it("is the older one once `initialize` was answered", () => {
    const recall = new Recall();
    recall.clientSaid(INITIALIZE);
    expect(recall.era).toBe("undecided");

    expect(introduced().era).toBe("legacy");
  });

  it.each([
    [{ result: { supportedVersions: ["2026-07-28"] } }, "modern"],
    [{ error: { code: -32022, message: "another version" } }, "modern"],
    [{ error: { code: -32601, message: "what?" } }, "undecided"],
  ] as const)("after a probe that was answered %o is %s", (answer, era) => {
    const recall = new Recall();
    recall.clientSaid(line({ id: 1, method: "server/discover", params: META }));
    recall.serverAnswered({ id: "1", method: "server/discover" }, line({ id: 1, ...answer }));

    expect(recall.era).toBe(era);
  });

  it("is the newer one when the client says so without a probe", () => {
    const recall = new Recall();

    recall.clientSaid(line({ id: 1, method: "tools/list", params: META }));

    expect(recall.era).toBe("modern");
    expect(recall.meta).toEqual(META._meta);
  });
});

describe("the face of a server", () => {
  const face = faceOf("legacy", {
    protocolVersion: "1",
    capabilities: { tools: { listChanged: true }, logging: {} },
  });

  it.each([
    [{ protocolVersion: "1", capabilities: { logging: {}, tools: { listChanged: true } } }, true],
    [{ protocolVersion: "2", capabilities: { tools: { listChanged: true }, logging: {} } }, false],
    [{ protocolVersion: "1", capabilities: { tools: {}, logging: {} } }, false],
    [{}, false],
  ])("is the same as that of %o: %s", (result, same) => {
    expect(sameFace(face, faceOf("legacy", result))).toBe(same);
  });
});

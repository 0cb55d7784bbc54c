/**
 * A server of both eras for tests under load, small enough to be started a hundred times. `who` names the process
 * and its SECRET; `wait` answers after `ms`, right behind a notification that is numbered and has the same value;
 * `measure` says what it was sent. PROTOCOL and CAPABILITIES (JSON) change what it says of itself to an older
 * client, MORE_TOOLS=yes what it offers. A listen is acknowledged after LISTEN_MS, and then told every 20 ms that
 * file:///a is another, until it is cancelled.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const MODERN = "2026-07-28";
const COMPLETE = { resultType: "complete" };
const SERVER = { "io.modelcontextprotocol/serverInfo": { name: "load", version: "1" } };
const { SECRET = null, PROTOCOL = "2025-11-25", CAPABILITIES, MORE_TOOLS, LISTEN_MS = "0" } = process.env;
const capabilities = JSON.parse(CAPABILITIES ?? '{"tools":{},"logging":{},"resources":{"subscribe":true}}');

let isModern = false;
let count = 0;
const say = (message) => process.stdout.write(`${JSON.stringify({ ...message, jsonrpc: "2.0" })}\n`);
const text = (value) => ({ content: [{ type: "text", text: value }] });
const fresh = { ttlMs: 0, cacheScope: "private" };

const tools = {
  who: async () => text(JSON.stringify({ pid: process.pid, secret: SECRET })),
  wait: async ({ ms, value }) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    const data = { pid: process.pid, number: ++count, value };
    say({ method: "notifications/message", params: { level: "info", data } });
    return text(value);
  },
  measure: async ({ value }) => {
    const sha256 = createHash("sha256").update(value).digest("hex");
    return text(JSON.stringify({ bytes: Buffer.byteLength(value), sha256, secret: SECRET }));
  },
  ...(MORE_TOOLS === "yes" && { more: async () => text("more") }),
};

const methods = {
  initialize: async () => ({
    protocolVersion: PROTOCOL,
    capabilities,
    serverInfo: { name: "load", version: "1" },
  }),
  "server/discover": async () => {
    isModern = true;
    return { supportedVersions: [MODERN], capabilities, ...fresh };
  },
  ping: async () => ({}),
  "logging/setLevel": async () => ({}),
  "tools/list": async () => ({
    tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" } })),
    ...(isModern && fresh),
  }),
  "tools/call": async ({ name, arguments: given = {} }) => tools[name](given),
};

const listens = new Map();
const notices = {
  "notifications/cancelled": ({ requestId }) => {
    clearInterval(listens.get(requestId));
    listens.delete(requestId);
  },
};

function listen(id, { notifications }) {
  const about = { "io.modelcontextprotocol/subscriptionId": id };
  setTimeout(() => {
    say({ method: "notifications/subscriptions/acknowledged", params: { notifications, _meta: about } });
    const tell = () =>
      say({
        method: "notifications/resources/updated",
        params: { uri: "file:///a", _meta: { ...about, secret: SECRET } },
      });
    listens.set(id, setInterval(tell, 20));
  }, Number(LISTEN_MS));
}

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { id, method, params } = JSON.parse(line);
    if (method === undefined) return;
    if (id === undefined) return notices[method]?.(params);
    if (method === "subscriptions/listen") return listen(id, params);
    const perform = methods[method];
    if (!perform) return say({ id, error: { code: -32601, message: `no ${method}` } });
    const result = await perform(params ?? {});
    say({ id, result: isModern ? { ...result, ...COMPLETE, _meta: SERVER } : result });
  })
  .on("close", () => process.exit(0));

/**
 * An MCP server of the older way, small enough to be started a hundred times. Its tools: `who` says which
 * process it is, what SECRET it has and what it has heard, `wait` answers after `ms`, and not as long as there is the
 * file `hold`, `ask` asks the client (sampling) and answers what it heard, `die` ends the process, `progress` sends
 * three progress notifications first, `works` fails after a SIGHUP if BREAKS_AT_SIGHUP says so. FAILS_TO_START, HANGS
 * and DIES_OF_PROBE (`yes`) are what they say; its pid goes to PID_FILE. With FAREWELL_FILE it takes a moment to end
 * at a SIGTERM, and notes it there.
 */
import { existsSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { FAILS_TO_START, HANGS, DIES_OF_PROBE, BREAKS_AT_SIGHUP, PID_FILE, FAREWELL_FILE } = process.env;

const say = (message) => process.stdout.write(`${JSON.stringify({ ...message, jsonrpc: "2.0" })}\n`);
const text = (value) => ({
  content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }],
});
const waiting = new Map();
let asked = 0;
let level = "info";
const heard = [];
let hangups = 0;
const subscriptions = new Set();

const tools = {
  who: async () =>
    text({
      pid: process.pid,
      secret: process.env.SECRET ?? null,
      level,
      subscriptions: [...subscriptions],
      hangups,
      heard,
    }),
  works: async () => ({ ...text("it"), isError: hangups > 0 && BREAKS_AT_SIGHUP === "yes" }),
  wait: async ({ ms = 20, value, hold }) => {
    do await new Promise((resolve) => setTimeout(resolve, ms));
    while (hold !== undefined && existsSync(hold));
    return text(value);
  },
  big: async ({ bytes }) => text("x".repeat(bytes)),
  die: async ({ code = 1 }) => process.exit(code),
  ask: async () => {
    const id = asked++;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    say({
      id,
      method: "sampling/createMessage",
      params: { _meta: { progressToken: id }, messages: [], maxTokens: 1 },
    });
    return text(await answer);
  },
  progress: async (_arguments, meta) => {
    for (const progress of [1, 2, 3]) {
      say({
        method: "notifications/progress",
        params: { progressToken: meta?.progressToken, progress, total: 3 },
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return text("done");
  },
};

const methods = {
  initialize: async () => ({
    protocolVersion: "2025-11-25",
    capabilities: { tools: {}, logging: {}, resources: { subscribe: true } },
    serverInfo: { name: "session", version: "1" },
  }),
  ping: async () => ({}),
  "tools/list": async () => ({
    tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" } })),
  }),
  "logging/setLevel": async (params) => {
    level = params.level;
    return {};
  },
  "resources/subscribe": async ({ uri }) => {
    subscriptions.add(uri);
    return {};
  },
  "resources/unsubscribe": async ({ uri }) => {
    subscriptions.delete(uri);
    return {};
  },
  "tools/call": async ({ name, arguments: given = {}, _meta }) => tools[name](given, _meta),
};

process.on("SIGHUP", () => {
  hangups++;
});
if (FAREWELL_FILE) {
  process.on("SIGTERM", () => {
    setTimeout(() => {
      writeFileSync(FAREWELL_FILE, "SIGTERM");
      process.exit(0);
    }, 100);
  });
}

if (PID_FILE) writeFileSync(PID_FILE, `${process.pid}`);
if (FAILS_TO_START === "yes") process.exit(9);

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params, result, error } = JSON.parse(line);
  if (HANGS === "yes") return;
  if (method !== undefined && method !== "tools/call") heard.push(method);
  if (method === "server/discover" && DIES_OF_PROBE === "yes") process.exit(5);
  if (method === undefined) {
    waiting.get(id)?.(result ?? error);
    waiting.delete(id);
  } else if (id !== undefined) {
    const perform = methods[method];
    if (perform) say({ id, result: await perform(params ?? {}) });
    else say({ id, error: { code: -32601, message: `no ${method}` } });
  }
});

/**
 * A server made with the official SDK 2.x, which speaks to older and to newer clients. Its tools: `who` names the
 * process and its SECRET, `wait` answers after `ms`, `envelope` says what came with the request, `steps` reports
 * progress, `confirm` asks the client for more input, with a state that only this process understands. The
 * resource file:///a is updated every 20 ms.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { acceptedContent, inputRequired, Server } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

const text = (value) => ({
  content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }],
});
const who = () => ({ pid: process.pid, secret: process.env.SECRET ?? null });

const tools = {
  who: async () => text(who()),
  wait: async ({ ms, value }, { mcpReq }) => {
    await sleep(ms, undefined, { signal: mcpReq.signal }).catch(() =>
      process.stderr.write(`cancelled ${value}\n`),
    );
    return text(value);
  },
  envelope: async (_given, { mcpReq }) => text({ envelope: mcpReq.envelope, meta: mcpReq._meta }),
  steps: async ({ count, ms, hold }, { mcpReq }) => {
    for (let progress = 1; progress <= count; progress++) {
      const params = { progressToken: mcpReq._meta.progressToken, progress, total: count };
      await mcpReq.notify({ method: "notifications/progress", params });
      await sleep(ms);
      while (progress === count / 2 && hold && existsSync(hold)) await sleep(ms);
    }
    return text(who());
  },
  confirm: async ({ prompt }, { mcpReq }) => {
    const own = `state of ${process.pid}`;
    const given = acceptedContent(mcpReq.inputResponses, "answer");
    if (given) return text({ said: given.answer, isOwnState: mcpReq.requestState() === own, ...who() });
    const requestedSchema = { type: "object", properties: { answer: { type: "string" } } };
    const answer = inputRequired.elicit({ message: prompt, requestedSchema });
    return inputRequired({ inputRequests: { answer }, requestState: own });
  },
};

const handle = serveStdio(() => {
  const server = new Server(
    { name: "sdk-modern", version: "1" },
    { capabilities: { tools: { listChanged: true }, resources: { subscribe: true } } },
  );
  const extra = process.env.MORE_TOOLS === "yes" ? ["more"] : [];
  server.setRequestHandler("tools/list", async () => ({
    tools: [...Object.keys(tools), ...extra].map((name) => ({ name, inputSchema: { type: "object" } })),
  }));
  server.setRequestHandler("tools/call", async ({ params }, context) =>
    tools[params.name](params.arguments ?? {}, context),
  );
  setInterval(() => {
    // Before a client has chosen, there is nobody to tell.
    server.sendResourceUpdated({ uri: "file:///a", _meta: who() }).catch(() => undefined);
  }, 20);
  return server;
});

// The SDK closes the client's listens with this, by an answer to each.
process.stdin.once("end", () => handle.close().finally(() => process.exit(0)));

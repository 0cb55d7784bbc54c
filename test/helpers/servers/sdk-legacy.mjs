/**
 * A server made with the official SDK 1.x, whose requests to the client (sampling, elicitation, roots) carry ids
 * and progress tokens counted from 0. Its tools: `who` names the process and its SECRET, `wait` answers after `ms`
 * and says on stderr if that was cancelled, `sample`, `elicit` and `roots` ask the client and answer what they
 * heard, `withdraw` takes its question back after `ms`, `steps` reports progress (and waits half-way for a file to go), `big` answers so many bytes.
 * A resource that was subscribed to is updated every 20 ms, numbered.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CallToolRequestSchema,
  ListToolsRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";

const transport = new StdioServerTransport(process.stdin, process.stdout);
const server = new Server(
  { name: "sdk-legacy", version: "1" },
  { capabilities: { tools: {}, resources: { subscribe: true } } },
);
const text = (value) => ({
  content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }],
});

const updates = new Map();
const sampling = (prompt) => ({
  messages: [{ role: "user", content: { type: "text", text: prompt } }],
  maxTokens: 1,
});

const tools = {
  who: async () => ({ pid: process.pid, secret: process.env.SECRET ?? null }),
  wait: async ({ ms, value }, { signal }) => {
    await sleep(ms, undefined, { signal }).catch(() => process.stderr.write(`cancelled ${value}\n`));
    return value;
  },
  sample: async ({ prompt }) => {
    const heard = [];
    const onprogress = ({ progress }) => {
      heard.push(progress);
      process.stderr.write(`heard ${progress}\n`);
    };
    const { content } = await server.createMessage(sampling(prompt), { onprogress });
    return { said: content.text, progress: heard, secret: process.env.SECRET };
  },
  elicit: async ({ prompt }) => {
    const requestedSchema = { type: "object", properties: { answer: { type: "string" } } };
    const { content } = await server.elicitInput(
      { message: prompt, requestedSchema },
      { onprogress: () => undefined },
    );
    return { said: content.answer, secret: process.env.SECRET };
  },
  roots: async () => {
    const { roots } = await server.listRoots(undefined, { onprogress: () => undefined });
    return { said: roots[0].uri, secret: process.env.SECRET };
  },
  withdraw: async ({ ms, prompt }) => {
    const signal = AbortSignal.timeout(ms);
    const why = await server.createMessage(sampling(prompt), { signal }).catch(({ name }) => name);
    return { why, secret: process.env.SECRET };
  },
  steps: async ({ count, ms, hold }, { sendNotification, _meta }) => {
    for (let progress = 1; progress <= count; progress++) {
      const params = { progressToken: _meta.progressToken, progress, total: count };
      await sendNotification({ method: "notifications/progress", params });
      await sleep(ms);
      while (progress === count / 2 && hold && existsSync(hold)) await sleep(ms);
    }
    return { secret: process.env.SECRET };
  },
  big: async ({ bytes, ms }) => {
    await sleep(ms);
    return 'é\\"x'.repeat(bytes / 5);
  },
};

server.setRequestHandler(ListToolsRequestSchema, async () => ({
  tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" } })),
}));
server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) =>
  text(await tools[params.name](params.arguments ?? {}, extra)),
);
server.setRequestHandler(SubscribeRequestSchema, async ({ params: { uri } }) => {
  let number = 0;
  const tell = () =>
    server.sendResourceUpdated({ uri, _meta: { secret: process.env.SECRET, number: ++number } });
  updates.set(uri, setInterval(tell, 20));
  return {};
});
server.setRequestHandler(UnsubscribeRequestSchema, async ({ params: { uri } }) => {
  clearInterval(updates.get(uri));
  return {};
});

// The SDK does not end with its stdin.
process.stdin.once("end", () => process.exit(0));
await server.connect(transport);

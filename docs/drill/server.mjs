/** An MCP server whose tool `use` asks the drill's service with the key that it was started with. */
import { createInterface } from "node:readline";

const { DRILL_KEY, DRILL_SERVICE } = process.env;

async function use() {
  const answer = await fetch(`${DRILL_SERVICE}/use`, { headers: { authorization: `Bearer ${DRILL_KEY}` } });
  const { keyId } = await answer.json();
  return {
    isError: answer.status !== 200,
    content: [{ type: "text", text: keyId ?? `HTTP ${answer.status}` }],
  };
}

const methods = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "drill", version: "1.0.0" },
  }),
  ping: () => ({}),
  "tools/list": () => ({ tools: [{ name: "use", inputSchema: { type: "object" } }] }),
  "tools/call": use,
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const answer = methods[method]
    ? { result: await methods[method](params) }
    : { error: { code: -32601, message: `there is no ${method}` } };
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...answer })}\n`);
});

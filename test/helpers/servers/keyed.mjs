/**
 * A server of the official SDK that needs a key. Tools: `key` tells its pid, KEY and what it last read from
 * KEY_FILE (at its start and at SIGHUP); `works` fails unless KEY is a line of the file GOOD_KEYS; `die` ends it.
 */
import { readFileSync } from "node:fs";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import * as z from "zod";

const { KEY, KEY_FILE, GOOD_KEYS } = process.env;
const text = (value) => ({ content: [{ type: "text", text: JSON.stringify(value) }] });
const readKey = () => (KEY_FILE ? readFileSync(KEY_FILE, "utf8") : undefined);

let fromFile = readKey();
process.on("SIGHUP", () => {
  fromFile = readKey();
});

const server = new McpServer({ name: "keyed", version: "1.0.0" });
server.registerTool("key", {}, () => text({ pid: process.pid, key: KEY, fromFile }));
server.registerTool("works", {}, () => {
  const isGood = readFileSync(GOOD_KEYS, "utf8").split("\n").includes(KEY);
  return { ...text(isGood ? "yes" : "no"), isError: !isGood };
});
server.registerTool("die", { inputSchema: { code: z.number() } }, ({ code }) => process.exit(code));
await server.connect(new StdioServerTransport());

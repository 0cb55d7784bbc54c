/** The client of the SDK 2.x as it comes, which tries a server in a process of its own before it starts the session. */
import { createRequire } from "node:module";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterEach, expect, it } from "vitest";
import { MAIN } from "../helpers/installation.ts";
import { until } from "../helpers/processes.ts";
import { SoakHome } from "./mcp-run-session.ts";

const PACKAGES = createRequire(import.meta.url);

const clients: Client[] = [];
const homes: SoakHome[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const home of homes.splice(0)) {
    await until("no server is left over", () => home.servers().length === 0);
    home.installation.remove();
  }
});

it.each([
  { name: "@modelcontextprotocol/server-everything", era: "legacy", variable: "SECRET" },
  { name: "@upstash/context7-mcp", era: "modern", variable: "CONTEXT7_API_KEY" },
])("goes on over a change of the secret: $name, $era", async ({ name, era, variable }) => {
  const home = new SoakHome({ args: [PACKAGES.resolve(`${name}/dist/index.js`)], variable });
  homes.push(home);
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, "soak"],
    env: home.installation.env,
    stderr: "pipe",
  });
  const client = new Client({ name: "auto", version: "1" }, { versionNegotiation: { mode: "auto" } });
  clients.push(client);
  let said = "";
  transport.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });

  await client.connect(transport);
  const before = await client.listTools();
  await until("only the session's own server lives", () => home.servers().length === 1);
  const [server] = home.servers();
  home.rotate();
  process.kill(transport.pid as number, "SIGUSR2");
  await until("another server has its place", () => said.includes("generation 2 has taken over"));

  expect((await client.listTools({}, { cacheMode: "bypass" })).tools).toEqual(before.tools);
  await until("the first server is gone", () => home.servers().length === 1);
  expect(home.servers()).not.toEqual([server]);
  expect(client.getNegotiatedProtocolVersion()).toBe(era === "modern" ? "2026-07-28" : "2025-11-25");
});

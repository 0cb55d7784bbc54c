/** Bare `mcp-run` beside a profile file that is not the user's own. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

it("says that the mcp-run.yaml of the folder is not used by itself, and how to use it", () => {
  mcpRun.write("work/mcp-run.yaml", "profiles: { github: { command: node } }\n");

  const { stdout } = mcpRun.run([], { cwd: join(mcpRun.home, "work") });

  expect(stdout).toContain("There is no profile on this machine yet.");
  expect(stdout).toContain("mcp-run --config ./mcp-run.yaml check --offline");
});

it.each([
  ["--config", (file: string) => ({ args: ["--config", file], env: {} })],
  ["$MCP_RUN_CONFIG", (file: string) => ({ args: [], env: { MCP_RUN_CONFIG: file } })],
])("shows a snippet that finds the file of %s from any folder", (_way, started) => {
  const file = mcpRun.write("work/mcp-run.yaml", "profiles: { github: { command: node } }\n");
  const { args, env } = started("mcp-run.yaml");

  const { stdout } = mcpRun.run(args, { cwd: join(mcpRun.home, "work"), env });

  expect(stdout).toContain(`mcp-run --config ${file} check --start github`);
  const snippet = JSON.parse(stdout.slice(stdout.indexOf("{"))) as object;
  expect(snippet).toEqual({
    mcpServers: { github: { command: process.execPath, args: [MAIN, "--config", file, "github"] } },
  });
});

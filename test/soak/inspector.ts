/** Where .ci/install-inspector puts the MCP Inspector. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const VERSION = "2.12.0";
const cache = process.env.MCP_RUN_INSPECTOR_CACHE ?? join(homedir(), ".cache/mcp-run-inspector");

export const INSPECTOR = join(
  cache,
  VERSION,
  "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
);
export const hasInspector = existsSync(INSPECTOR);

/** Builds mcp-run as `npm run build` does, and says nothing where that works. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const bundler = join(root, "node_modules/rolldown/bin/cli.mjs");
const { status } = spawnSync(process.execPath, [bundler, "-c", "rolldown.config.ts"], {
  cwd: root,
  stdio: ["ignore", "ignore", "inherit"],
});
process.exitCode = status ?? 1;

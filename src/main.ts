#!/usr/bin/env node
/** The bin: argv in, exit code out. */
import { homedir } from "node:os";
import { join } from "node:path";
import { useCodeCache } from "./code-cache.ts";
import { mcpRunPaths } from "./paths.ts";

const { cache } = mcpRunPaths(process.env, process.platform, homedir());
useCodeCache(join(cache, "code"), __dirname, process.getuid?.());

import("./cli.ts")
  .then(({ runCli }) => runCli(process.argv.slice(2)))
  .then(({ exitCode, outputAbandoned }) => {
    process.exitCode = exitCode;
    if (outputAbandoned) process.exit();
  });

#!/usr/bin/env node
/** The bin: argv in, exit code out. */
import { homedir } from "node:os";
import { join } from "node:path";
import { useCodeCache } from "./code-cache.ts";
import { mcpRunPaths } from "./paths.ts";
import { RESERVED_PROFILE_NAMES } from "./profile/reserved-names.ts";

const { cache } = mcpRunPaths(process.env, process.platform, homedir());
// Without a command, or with options before it, it is nearly always a server that is started.
const command = RESERVED_PROFILE_NAMES.find((name) => name === process.argv[2]) ?? "run";
useCodeCache(join(cache, "code"), command, __dirname, process.getuid?.());

import("./cli.ts")
  .then(({ runCli }) => runCli(process.argv.slice(2)))
  .then(({ exitCode, outputAbandoned }) => {
    process.exitCode = exitCode;
    if (outputAbandoned) process.exit();
  });

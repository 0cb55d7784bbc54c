#!/usr/bin/env node
/** The bin: argv in, exit code out. */
import { runCli } from "./cli.ts";

runCli(process.argv.slice(2)).then(({ exitCode, outputAbandoned }) => {
  process.exitCode = exitCode;
  if (outputAbandoned) process.exit();
});

#!/usr/bin/env node
/** The bin: argv in, exit code out. */
import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { isatty } from "node:tty";
import { useCodeCache } from "./code-cache.ts";
import { homeDirectory, mcpRunPaths } from "./paths.ts";
import { RESERVED_PROFILE_NAMES } from "./profile/reserved-names.ts";

/** Ms that the end of the process may wait for what nobody owns any more. */
const STRAGGLERS_MS = 3_000;

const home = homeDirectory(process.env, process.platform, () => userInfo().homedir);
const { cache } = mcpRunPaths(process.env, process.platform, home);
// Without a command, or with options before it, it is nearly always a server that is started.
const command = RESERVED_PROFILE_NAMES.find((name) => name === process.argv[2]) ?? "run";
// An account may have a home that does not exist; making it is not for us.
if (process.env.MCP_RUN_HOME || existsSync(home)) {
  useCodeCache(join(cache, "code"), command, __dirname, process.getuid?.());
}

const terminals = [0, 1, 2].filter((fd) => isatty(fd));

import("./cli.ts")
  .then(({ runCli }) => runCli(process.argv.slice(2)))
  .then(({ exitCode, outputAbandoned }) => {
    process.exitCode = exitCode;
    // Whoever can't wait for the last bytes to be read ends that wait, and not what it has come to.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) process.on(signal, leave);
    if (outputAbandoned) leave();
    hangUpWithTerminal();
    // Node's own taking apart lasts some milliseconds, in which a signal would be the end of us after all.
    process.once("beforeExit", () => process.exit());
    endWithoutStragglers();
  });

/** @param signal the number of the one that came; none if it is us who do not wait */
function leave(_name?: NodeJS.Signals, signal?: number): void {
  hangUpWithTerminal();
  // A 0 would say that the reader has all of it.
  if (signal !== undefined && !process.exitCode && process.stdout.writableLength > 0)
    process.exitCode = 128 + signal;
  process.exit(); // With an argument, also with undefined, Node forgets the exit code.
}

/** Node can't restore a terminal that has gone, and would abort with a core dump of our memory. */
function hangUpWithTerminal(): void {
  if (terminals.every((fd) => isatty(fd))) return;
  process.removeAllListeners("SIGHUP");
  process.kill(process.pid, "SIGHUP");
}

/** All is done and said: a socket that a backend's library has lost sight of must not keep us alive. */
function endWithoutStragglers(): void {
  setTimeout(() => {
    if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit();
    else endWithoutStragglers();
  }, STRAGGLERS_MS).unref();
}

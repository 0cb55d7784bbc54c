/**
 * The composition root: the commander tree, and the only place that knows the backends and the process.
 * Commands and backends are loaded when they are used, so that a start reads only what it needs.
 */
import { realpathSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname } from "node:path";
import { isatty } from "node:tty";
import { Command, CommanderError, Option } from "commander";
import { version } from "../package.json";
import { systemClock } from "./clock.ts";
import type { CommandContext } from "./commands/context.ts";
import { type Action, examples } from "./commands/tree.ts";
import { EXIT_CODES, exitCodeFor } from "./errors.ts";
import { homeDirectory, mcpRunPaths } from "./paths.ts";
import type { ProviderKind, ProviderKinds } from "./secrets/provider.ts";
import {
  createPrinter,
  LOG_FORMATS,
  LOG_LEVELS,
  type LogFormat,
  type LogLevel,
  type Printer,
} from "./ui/printer.ts";

const LOADERS: Readonly<Record<string, () => Promise<ProviderKind>>> = {
  "aws-secrets-manager": async () => (await import("../providers/aws.ts")).awsKind as ProviderKind,
  "azure-key-vault": async () => (await import("../providers/azure.ts")).azureKind as ProviderKind,
  command: async () => (await import("../providers/command.ts")).commandKind as ProviderKind,
  env: async () => (await import("../providers/env.ts")).envKind as ProviderKind,
  file: async () => (await import("../providers/file.ts")).fileKind as ProviderKind,
  keychain: async () => (await import("../providers/keychain.ts")).keychainKind as ProviderKind,
  local: async () => (await import("../providers/local.ts")).localKind as ProviderKind,
  vault: async () => (await import("../providers/vault.ts")).vaultKind as ProviderKind,
};

const KINDS: ProviderKinds = {
  names: Object.keys(LOADERS),
  load: async (type) => (Object.hasOwn(LOADERS, type) ? LOADERS[type]?.() : undefined),
};

interface GlobalFlags {
  readonly config?: string;
  readonly allowPlaintext?: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export interface CliOutcome {
  readonly exitCode: number;
  /** True if output is still waiting for a reader who does not come: only the end of the process drops it. */
  readonly outputAbandoned: boolean;
}

/** Runs one command line (without node and script). Never rejects. */
export async function runCli(argv: readonly string[]): Promise<CliOutcome> {
  outliveUserSignals();
  let exitCode = 0;
  let outputAbandoned = false;
  let printer = createPrinter({ write: writeStderr, level: "info", format: "text" });

  const program = await commandTree(argv, (flags, command) => {
    printer = createPrinter({ write: writeStderr, level: flags.logLevel, format: flags.logFormat });
    return async () => {
      exitCode = await command(
        commandContext(flags, printer, () => {
          outputAbandoned = true;
        }),
      );
    };
  });
  const fail = (error: unknown) => {
    if (error instanceof CommanderError) exitCode = error.exitCode === 0 ? 0 : EXIT_CODES.usage;
    else {
      printer.printError(error);
      exitCode = exitCodeFor(error);
    }
  };
  await Promise.race([
    program.parseAsync(argv, { from: "user" }).catch(fail),
    uncaught().then((error) => {
      fail(error);
      outputAbandoned = true;
    }),
  ]);
  return { exitCode, outputAbandoned };
}

/** Resolves with what was thrown where nobody waits for it: a bug, but one that must not print a secret. */
function uncaught(): Promise<unknown> {
  return new Promise((resolve) => process.on("uncaughtException", resolve));
}

export type Runner = (flags: GlobalFlags, action: Action) => () => Promise<void>;

/** Every verb with its flags, arguments and help; docs and completion follow it. */
export async function commandTree(argv: readonly string[], runner: Runner): Promise<Command> {
  const program = new Command("mcp-run");
  /** Wraps a command's action: `start` is called with what commander parsed. */
  const does =
    <Args extends unknown[]>(start: (...args: Args) => Action) =>
    (...args: [...Args, Command]) => {
      const command = args.at(-1) as Command;
      return runner(command.optsWithGlobals<GlobalFlags>(), start(...(args.slice(0, -1) as Args)))();
    };

  program
    .description("Start an MCP server with its secrets, and keep them where they belong.")
    .version(version, "--version", "print the version")
    .option("--config <file>", "read the profiles from this file")
    .option("--allow-plaintext", "only warn about literals in the profile that look like credentials")
    .addOption(
      new Option("--log-level <level>", "least severe lines to print").choices(LOG_LEVELS).default("info"),
    )
    .addOption(new Option("--log-format <format>", "how to print them").choices(LOG_FORMATS).default("text"))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => withoutReader(process.stdout).write(text),
      // The rest is the help of a command that needs another word.
      writeErr: (text) => writeStderr(text.startsWith("error: ") ? usageError(text) : text),
    })
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      examples(["mcp-run github", "mcp-run exec github -- node script.js", "mcp-run check --start github"]),
    );

  program
    .command("run", { isDefault: true })
    .description("start the server of a profile for an MCP client (the default command)")
    .argument("[profile]", "name of a profile, or the path of its file")
    .argument("[command...]", "after --: run this instead of the profile's server")
    .addHelpText(
      "after",
      examples(["mcp-run github", "mcp-run run ./team.yaml", "mcp-run github -- node build/index.js"]),
    )
    .action(
      does((profile: string | undefined, override: string[], _options: object) => async (context) => {
        if (profile === undefined) return (await import("./commands/welcome.ts")).welcome(context);
        return (await import("./commands/run.ts")).run(context, profile, override);
      }),
    );

  program
    .command("exec")
    .description("run any program once with the profile's secrets; both streams are scrubbed")
    .argument("<profile>", "name of a profile, or the path of its file")
    .argument("<command...>", "after --: the program and its arguments")
    .option("--no-scrub", "leave both streams as they are (full-screen programs)")
    .addHelpText(
      "after",
      examples([
        "mcp-run exec github -- npx @modelcontextprotocol/inspector --cli",
        "mcp-run exec app -- ./deploy.sh",
      ]),
    )
    .action(
      does(
        (profile: string, command: string[], options: { scrub: boolean }) => async (context) =>
          (await import("./commands/exec.ts")).exec(context, profile, command, options),
      ),
    );

  program
    .command("check")
    .description("validate profiles, reach every backend and resolve every secret, printing none")
    .argument("[profile...]", "profiles to check; all of them by default")
    .option("--offline", "only the file: no backend is asked")
    .option("--start", "also start the server as a client would, shake hands, and time it")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      examples(["mcp-run check", "mcp-run check --offline --json", "mcp-run check --start github"]),
    )
    .action(
      does(
        (profiles: string[], options: { offline?: boolean; start?: boolean; json?: boolean }) =>
          async (context) =>
            (await import("./commands/check.ts")).check(context, profiles, options),
      ),
    );

  program
    .command("status")
    .description("show every running server: its secrets, their age, the next look, restarts")
    .argument("[profile]", "only this one: its name, or the path of its file")
    .option("--json", "print it as JSON")
    .option("--watch", "show it live on a terminal, until Ctrl-C")
    .option("--check", "only the exit code: 0 if a server serves, 69 if none does, for probes")
    .option("--local", "only this machine, also where the profile file has a fleet")
    .addHelpText(
      "after",
      examples(["mcp-run status", "mcp-run status --watch", "mcp-run status github --json"]),
    )
    .action(
      does(
        (
          profile: string | undefined,
          options: { json?: boolean; watch?: boolean; check?: boolean; local?: boolean },
        ) =>
          async (context) =>
            (await import("./commands/status.ts")).status(context, profile, options),
      ),
    );

  const secrets = program.command("secrets").description("keep secrets in a store that mcp-run can write to");
  // Half of the tree, and nothing that a start needs: read only when somebody types the word.
  if (argv.includes("secrets"))
    (await import("./commands/secrets/tree.ts")).addSecretsCommands(secrets, does);

  const rotate = program.command("rotate").description("replace a leaked key now, and prove it");
  if (argv.includes("rotate")) (await import("./commands/rotate/tree.ts")).addRotateOptions(rotate, does);

  const audit = program.command("audit").description("what has happened to secrets, and whether that is all");
  if (argv.includes("audit")) (await import("./commands/audit/tree.ts")).addAuditCommands(audit, does);

  const fleet = program.command("fleet").description("the bus over which several machines hear of new keys");
  if (argv.includes("fleet")) (await import("./commands/fleet/tree.ts")).addFleetCommands(fleet, does);

  program
    .command("init")
    .description("start from a ready-made profile")
    .argument("[template]", "which one; without it they are listed")
    .option("--name <name>", "name of the new profile")
    .addHelpText(
      "after",
      examples(["mcp-run init", "mcp-run init github", "mcp-run init github --name github-work"]),
    )
    .action(
      does(
        (template: string | undefined, options: { name?: string }) => async (context) =>
          (await import("./commands/init.ts")).init(context, template, options),
      ),
    );

  program
    .command("schema")
    .description("print the JSON Schema of the profile file")
    .addHelpText("after", examples(["mcp-run schema > mcp-run.schema.json"]))
    .action(
      does((_options: object) => async (context) => (await import("./commands/schema.ts")).schema(context)),
    );

  return program;
}

/** Commander's «error: …» in our form: one line, with what to do. */
function usageError(text: string): string {
  const reason = text
    .replace(/^error: /, "")
    .trim()
    .replaceAll("\n", " ");
  const hint = reason.startsWith("unknown option")
    ? "`--` before a program's own options, or mcp-run --help"
    : "mcp-run --help";
  return `mcp-run: Cannot parse the command line: ${reason.replace(/\.$/, "")}. Try ${hint}.\n`;
}

function commandContext(flags: GlobalFlags, printer: Printer, abandonOutput: () => void): CommandContext {
  const home = homeDirectory(process.env, process.platform, () => userInfo().homedir);
  const scriptPath = realpathSync(process.argv[1] ?? ".");
  return {
    env: process.env,
    cwd: process.cwd(),
    home,
    nodePath: process.execPath,
    scriptPath,
    packageRoot: dirname(dirname(scriptPath)),
    paths: mcpRunPaths(process.env, process.platform, home),
    platform: process.platform,
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    loginName,
    clock: systemClock,
    // Getters: merely touching process.stdin would make a pipe non-blocking for a program that inherits it.
    get stdin() {
      return process.stdin;
    },
    get stdout() {
      return withoutReader(process.stdout);
    },
    get stderr() {
      return withoutReader(process.stderr);
    },
    onTerminal: [0, 1, 2].some((fd) => isatty(fd)),
    printer,
    abandonOutput,
    kinds: KINDS,
    options: {
      ...(flags.config !== undefined && { config: flags.config }),
      allowPlaintext: flags.allowPlaintext ?? false,
    },
    onSignal,
    onRefreshSignal,
  };
}

/** As the system writes it: a user without an account, as containers have them, goes by its number. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.());
  }
}

const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

function onSignal(listener: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of ENDING_SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of ENDING_SIGNALS) process.off(signal, listener);
  };
}

/** Windows has no such signal. */
function onRefreshSignal(listener: () => void): () => void {
  if (process.platform === "win32") return () => undefined;
  process.on("SIGUSR2", listener);
  return () => process.off("SIGUSR2", listener);
}

function writeStderr(text: string): void {
  withoutReader(process.stderr).write(text);
}

/**
 * Node opens its inspector, and with it our memory, on SIGUSR1 unless somebody listens for that signal. SIGUSR2 asks
 * for a look at the secrets, and would end who does not listen: too early, or while leases are given back.
 */
function outliveUserSignals(): void {
  if (process.platform === "win32") return;
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => undefined);
}

/** The reader of a stream may go first (`| head`): what is said after that has nobody to hear it, and is no crash. */
function withoutReader<Stream extends NodeJS.WriteStream>(stream: Stream): Stream {
  if (!stream.listeners("error").includes(nobodyListens)) stream.on("error", nobodyListens);
  return stream;
}

function nobodyListens(): void {
  // Whoever writes much, such as a relay, has a listener of its own and stops.
}

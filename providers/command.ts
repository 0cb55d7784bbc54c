/**
 * `command: [op, read, op://dev/x/password]`: what a program prints is the secret. The program is started
 * without a shell, in the home directory (never in the folder of a cloned repository), with the whole
 * environment of mcp-run except its own MCP_RUN_*: a credential helper needs its user's session.
 */
import { isUtf8 } from "node:buffer";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod/mini";
import { type McpRunErrorOptions, ProviderError, type ProviderFailure } from "../src/errors.ts";
import { lastLines } from "../src/escape.ts";
import type { ProgramOutcome, ProgramOutput } from "../src/secrets/program.ts";
import type { FetchedSecret, ProviderContext, ProviderKind } from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";
import { shellWord } from "../src/shell-word.ts";

const MAX_OUTPUT_BYTES = 1024 * 1024;
const MAX_SCRUBBED_BYTES = 64 * 1024;
/** Programs at the same time: each may be a whole runtime. */
const CONCURRENCY = 8;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };
const MAX_TIMEOUT_MS = 5 * 60_000;

/** A bare name is looked up in PATH; a relative path would be taken from who knows which folder. */
const PROGRAM = /^(?:[^/\\]+|(?:~[/\\]|[/\\]|[A-Za-z]:[/\\]).*)$/s;

const word = z
  .string()
  .check(z.refine((text) => !text.includes("\0"), "a word of a command can't hold a NUL byte"));

const refSchema = z.strictObject({
  path: z.string(),
  command: z.tuple(
    [
      word.check(
        z.refine(
          (program) => PROGRAM.test(program),
          "the program needs a bare name, an absolute path or one that begins with ~/",
        ),
      ),
    ],
    word,
  ),
  timeout: z._default(
    z.string().check(
      z.refine((text) => {
        const ms = milliseconds(text);
        return ms > 0 && ms <= MAX_TIMEOUT_MS;
      }, "a timeout looks like 500ms, 10s or 2m, and is at most 5m"),
    ),
    "10s",
  ),
  /** Drops one newline at the end; on unless switched off. */
  trim: z._default(z.boolean(), true),
});

type CommandRef = z.infer<typeof refSchema>;

/** Where and with what every program of a fetch is started. */
interface Surroundings {
  readonly env: Readonly<Record<string, string>>;
  /** The home directory, as far as there is one. */
  readonly home: string | undefined;
}

export const commandKind: ProviderKind<object, CommandRef> = {
  name: "command",
  worksWithoutSettings: true,
  // Each program has a timeout of its own; this only has to be longer.
  patienceMs: 2 * MAX_TIMEOUT_MS,
  configSchema: z.strictObject({}),
  refSchema,
  async open(_config, context) {
    return {
      async fetch(refs, signal) {
        signal.throwIfAborted();
        const surroundings = await surroundingsOf(context);
        const answers = new Map<CommandRef, FetchedSecret | ProviderError>();
        const waiting = [...refs];
        const runOneAfterTheOther = async () => {
          for (let ref = waiting.shift(); ref; ref = waiting.shift()) {
            answers.set(ref, await run(ref, context, surroundings, signal));
          }
        };
        await Promise.all(Array.from({ length: CONCURRENCY }, runOneAfterTheOther));
        return answers;
      },
      async close() {
        // A program that still runs belongs to a fetch and ends with its signal.
      },
    };
  },
};

async function surroundingsOf({ env, platform }: ProviderContext): Promise<Surroundings> {
  const all = env.all();
  const home = platform === "win32" ? all.USERPROFILE : all.HOME;
  const isThere = home !== undefined && (await stat(home).catch(() => undefined))?.isDirectory();
  return {
    env: Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith("MCP_RUN_"))),
    home: isThere ? home : undefined,
  };
}

async function run(
  { command: [program, ...args], timeout, trim }: CommandRef,
  context: ProviderContext,
  { env, home }: Surroundings,
  signal: AbortSignal,
): Promise<FetchedSecret | ProviderError> {
  const file = home !== undefined && /^~[/\\]/.test(program) ? join(home, program.slice(2)) : program;
  const outcome = await context.runProgram({
    argv: [file, ...args],
    timeoutMs: milliseconds(timeout),
    maxOutputBytes: MAX_OUTPUT_BYTES,
    env,
    ...(home !== undefined && { cwd: home }),
    signal,
  });
  if (outcome.type !== "exited" || outcome.exitCode !== 0) {
    return failureOf(program, timeout, outcome, context);
  }
  if (!isUtf8(outcome.stdout)) {
    return new ProviderError("invalid", `what ${program} printed is not UTF-8 text`, {
      hint: "letting it print a text form, such as base64",
    });
  }
  const text = outcome.stdout.toString();
  const value = trim ? text.replace(/\r?\n$/, "") : text;
  if (value !== "") return { value: new Secret(value) };
  return failure("missing", `${program} ended well but printed nothing`, outcome, context);
}

function failureOf(
  program: string,
  timeout: string,
  outcome: ProgramOutcome,
  context: ProviderContext,
): ProviderError {
  switch (outcome.type) {
    case "not-started":
      return notStarted(program, outcome.code);
    case "timed-out":
      return failure("unavailable", `${program} did not end within ${timeout}`, outcome, context, {
        hint: `timeout: 60s at this secret, if ${program} is only slow; it can't ask for anything, its stdin is empty`,
      });
    case "output-too-large":
      return failure("invalid", `${program} printed more than ${MAX_OUTPUT_BYTES} bytes`, outcome, context);
    case "killed":
      return failure("unavailable", `${program} was killed by ${outcome.signal}`, outcome, context);
    case "exited":
      return failure("unavailable", `${program} exited with code ${outcome.exitCode}`, outcome, context, {
        hint: "the same command in a terminal",
      });
  }
}

/** Puts what the program said last behind the reason. */
function failure(
  kind: ProviderFailure,
  reason: string,
  outcome: ProgramOutput,
  context: ProviderContext,
  options: McpRunErrorOptions = {},
): ProviderError {
  // What was printed in bulk can't be looked for in good time; then nothing is quoted.
  const isShort = outcome.stdout.length <= MAX_SCRUBBED_BYTES;
  const printed = new Secret(outcome.stdout.toString().trim());
  const said = isShort ? lastLines(outcome.stderr, (text) => context.quotable(text, [printed])) : [];
  const quote = said.filter((line) => line !== "").join(" | ");
  return new ProviderError(kind, quote === "" ? reason : `${reason}: ${quote}`, options);
}

function notStarted(program: string, code: string): ProviderError {
  if (code === "ENOENT") {
    return new ProviderError("unavailable", `there is no program ${program}`, {
      hint: "its absolute path, since a desktop application starts mcp-run with a shorter PATH than your shell's",
    });
  }
  if (code === "EACCES" && !program.includes("/")) {
    // Said of a file without the permission and, by execvp(3), also where a folder of PATH may not be entered.
    return new ProviderError("unavailable", `there is no program ${program} on PATH that this user may run`, {
      hint: `its absolute path, or chmod +x for the file that \`type -a ${shellWord(program)}\` shows`,
    });
  }
  if (code === "EACCES") {
    return new ProviderError("denied", `${program} is not executable`, {
      hint: `chmod +x ${shellWord(program)}`,
    });
  }
  return new ProviderError("unavailable", `${program} could not be started (${code})`);
}

/** NaN for text that is no duration. */
function milliseconds(text: string): number {
  const [, amount, unit = ""] = /^(\d{1,9})(ms|s|m)$/.exec(text) ?? [];
  return Number(amount) * (UNIT_MS[unit] ?? Number.NaN);
}

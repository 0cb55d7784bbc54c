/**
 * Keys that an issuer's interface makes: a program of the operator talks to it. It is asked by one JSON object on its
 * stdin, answers by one on its stdout, and gets no secret as an argument or in its environment: docs/hooks.md.
 *
 * It has the operator's own environment, since the credentials for the issuer are the operator's (cloud logins,
 * administrators' tokens) and whoever writes the profile chooses the program anyway; only mcp-run's own settings
 * (MCP_RUN_*) are kept from it, because the keys of local stores are among them.
 */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { type ErrorCode, McpRunError, type McpRunErrorOptions, systemErrorCode } from "../../errors.ts";
import { escapeControl, lastLines } from "../../escape.ts";
import type { ProgramOutcome, ProgramRunner } from "../../secrets/program.ts";
import { Secret } from "../../secrets/secret.ts";
import type { HookSpec } from "../../secrets/spec.ts";
import { programName, shellWord } from "../../shell-word.ts";
import type { Issuer, IssuerRequest, KeyToEnd } from "../contract.ts";
import {
  type Reading,
  readError,
  readFound,
  readMinted,
  readReencrypted,
  readRevoked,
  readVerified,
} from "./hook-answers.ts";

export const HOOK_VERSION = 1;
const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 256 * 1024;
const ERROR_CHARACTERS = 500;
const BY_HAND = "the hook by hand, with the question of docs/hooks.md on its stdin";

export interface HookSurroundings {
  readonly runProgram: ProgramRunner;
  /** The operator's whole environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the program is started: never the folder of whatever repository somebody stands in. */
  readonly home: string;
  /** What another program said, without these values and what looks like a credential. */
  quotable(text: string, values: readonly Secret[]): string;
}

type Action = "mint" | "find" | "reencrypt" | "revoke" | "verify";

const WHAT: Readonly<Record<Action, (secret: string) => string>> = {
  mint: (secret) => `mint a new ${secret}`,
  find: (secret) => `find out what was minted for ${secret}`,
  reencrypt: (secret) => `encrypt anew what the old ${secret} has encrypted`,
  revoke: (secret) => `revoke the old ${secret}`,
  verify: (secret) => `find out whether the old ${secret} is refused`,
};

/** @param along other secrets whose values come with the key */
export function hookIssuer(spec: HookSpec, along: readonly string[], around: HookSurroundings): Issuer {
  const ask = async <T>(
    action: Action,
    request: IssuerRequest,
    key: KeyToEnd | undefined,
    read: (stdout: Buffer) => Reading<T>,
    signal: AbortSignal,
    before?: KeyToEnd,
  ): Promise<T> => {
    const { rotationId, profile, secret, reason } = request;
    const granted = spec.grantsOldValue || key?.isCandidate ? key?.value : undefined;
    const question = {
      version: HOOK_VERSION,
      action,
      profile,
      secret,
      reason,
      rotation: rotationId,
      ...(key === undefined && along.length > 0 && { with: along }),
      ...(key?.keyId !== undefined && { keyId: key.keyId }),
      ...(granted && { value: granted.reveal() }),
      ...(before?.keyId !== undefined && { oldKeyId: before.keyId }),
      ...(spec.grantsOldValue && before?.value && { oldValue: before.value.reveal() }),
    };
    const outcome = await around.runProgram({
      argv: spec.argv,
      timeoutMs: spec.timeoutMs ?? TIMEOUT_MS,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      env: environmentOf(around.env),
      cwd: around.home,
      input: `${JSON.stringify(question)}\n`,
      signal,
    });
    const known = [key?.value, before?.value].filter((value) => value !== undefined);
    const call: Call = { action, secret, spec, known, around };
    if (outcome.type !== "exited" || outcome.exitCode !== 0) throw failureOf(outcome, call);
    if (readError(outcome.stdout)) {
      throw failed(call, "backend-unavailable", "it answered with an error", outcome, { hint: BY_HAND });
    }
    const reading = read(outcome.stdout);
    if ("is" in reading) return reading.is;
    throw failed(call, "secret-invalid", reading.wrong, outcome, {
      hint: "docs/hooks.md, which says what a hook may answer",
    });
  };
  return {
    kind: "hook",
    mustBeThere: (secret) => mustBeThere({ action: "mint", secret, spec, known: [], around }),
    mint: (request, signal) => ask("mint", request, undefined, (out) => readMinted(out, along), signal),
    find: (request, signal) => ask("find", request, undefined, (out) => readFound(out, along), signal),
    ...(spec.reencrypts && {
      reencrypt: (request, { before, after }, signal) =>
        ask("reencrypt", request, after, readReencrypted, signal, before),
    }),
    revoke: (request, key, signal) => ask("revoke", request, key, readRevoked, signal),
    verify: (request, key, signal) => ask("verify", request, key, readVerified, signal),
  };
}

function environmentOf(env: HookSurroundings["env"]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !/^MCP_RUN_/i.test(entry[0]),
    ),
  );
}

interface Call {
  readonly action: Action;
  readonly secret: string;
  readonly spec: HookSpec;
  readonly known: readonly Secret[];
  readonly around: HookSurroundings;
}

function failureOf(outcome: ProgramOutcome, call: Call): McpRunError {
  const { argv, timeoutMs = TIMEOUT_MS } = call.spec;
  const [program] = argv;
  switch (outcome.type) {
    case "not-started":
      return notStarted(program, outcome.code, call);
    case "timed-out":
      return failed(call, "backend-unavailable", `it did not end within ${timeoutMs / 1000} s`, outcome, {
        hint: "`timeout:` beside `hook:`, if the issuer is only slow; it can't ask for anything",
      });
    case "output-too-large":
      return failed(call, "secret-invalid", `it printed more than ${MAX_OUTPUT_BYTES} bytes`, outcome, {
        hint: "a hook that prints its answer and nothing else on stdout",
      });
    case "killed":
      return failed(call, "backend-unavailable", `it was killed by ${outcome.signal}`, outcome, {
        hint: "again, when it is known what killed it",
      });
    case "exited":
      return failed(call, "backend-unavailable", `it exited with code ${outcome.exitCode}`, outcome, {
        hint: BY_HAND,
      });
  }
}

/** Whether a bare name is in PATH shows when it is started. */
async function mustBeThere(call: Call): Promise<void> {
  const [program] = call.spec.argv;
  if (!isAbsolute(program)) return;
  await access(program, constants.X_OK).catch((error: unknown) => {
    throw notStarted(program, systemErrorCode(error) ?? "unknown reason", call);
  });
}

function notStarted(program: string, code: string, call: Call): McpRunError {
  if (code === "ENOENT") {
    return failed(call, "command-not-found", "there is no such program", undefined, {
      hint: isAbsolute(program) ? `the path behind \`hook:\`, which is ${program}` : "its absolute path",
    });
  }
  if (code === "EACCES") {
    return failed(call, "command-not-executable", "it is not executable", undefined, {
      hint: `chmod +x ${shellWord(program)}`,
    });
  }
  return failed(call, "command-not-executable", `it could not be started (${code})`, undefined, {
    hint: "the program in a terminal",
  });
}

/** Names the action, the secret and the hook, and why it failed, as far as that can be quoted. */
function failed(
  call: Call,
  code: ErrorCode,
  state: string,
  said: { readonly stdout: Buffer; readonly stderr: string } | undefined,
  options: McpRunErrorOptions,
): McpRunError {
  const { action, secret, spec } = call;
  return new McpRunError(
    code,
    `Cannot ${WHAT[action](secret)}: its hook ${programName(spec.argv)}: ${[state, ...(said ? quoted(said, call) : [])].join(" | ")}`,
    options,
  );
}

/**
 * What the hook answers as its error; without one what it said last on stderr. But never stderr of a hook that makes
 * keys: it may show one that nobody knows yet, and that could not be told from other words.
 */
function quoted(
  { stdout, stderr }: { readonly stdout: Buffer; readonly stderr: string },
  { action, known, around }: Call,
): readonly string[] {
  const error = readError(stdout);
  if (error) {
    const why = escapeControl(around.quotable(error.why, [error.rest, ...known]), " ");
    return [why.length > ERROR_CHARACTERS ? `${why.slice(0, ERROR_CHARACTERS)}…` : why];
  }
  if (action === "mint" || action === "find") {
    return stderr.trim() === ""
      ? []
      : ["what it printed to stderr is not shown, as a new key may be in it: run it by hand to see it"];
  }
  const printed = [new Secret(stdout.toString().trim()), ...known];
  return lastLines(stderr, (text) => around.quotable(text, printed)).filter((line) => line !== "");
}

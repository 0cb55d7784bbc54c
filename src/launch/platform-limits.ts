/**
 * What the platform would refuse at the spawn, or take in a dangerous way, said beforehand and by name:
 * «E2BIG» helps nobody. Sizes and names only, never a value.
 *
 * Linux: execve(2), «Limits on size of arguments and environment»: one string MAX_ARG_STRLEN, 32 pages of
 * 4 KiB with its final NUL; all together a quarter of the stack limit, which is 8 MiB unless changed. macOS:
 * ARG_MAX in sys/syslimits.h. Windows: CreateProcess and SetEnvironmentVariable, 32,767 characters with the NUL.
 */
import { type ErrorCode, McpRunError } from "../errors.ts";
import type { Environment } from "./environment.ts";

const KIB = 1024;
const LINUX_STRING_BYTES = 128 * KIB;
const LINUX_TOTAL_BYTES = 2048 * KIB;
const MACOS_TOTAL_BYTES = 1024 * KIB;
const WINDOWS_CHARACTERS = 32_767;
/** Each string costs its bytes, its NUL and a pointer. */
const POINTER_BYTES = 8;

export interface Launchable {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Environment;
  /** Which names in `env` are secrets. */
  readonly secretNames: ReadonlySet<string>;
  readonly platform: NodeJS.Platform;
}

/** Throws McpRunError (`secret-invalid` or, where no secret is to blame, `profile-invalid`) with every problem found. */
export function checkPlatformLimits(launch: Launchable): void {
  const problems = [...problemsOfStrings(launch), ...problemsOfTotal(launch)];
  const [first, ...rest] = problems;
  if (!first) return;
  throw new McpRunError(first.code, `Cannot start ${launch.command}: ${first.reason}`, {
    hint: first.hint,
    details: rest.map((problem) => problem.reason),
  });
}

interface Problem {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly hint: string;
}

const DELIVER_BY_FILE = "`deliver: file` for it, so that the server reads a path from NAME_FILE";

function* problemsOfStrings({ args, env, secretNames, platform }: Launchable): Generator<Problem> {
  for (const [name, value] of Object.entries(env)) {
    const isSecret = secretNames.has(name);
    const what = isSecret ? `secret ${name}` : `variable ${name}`;
    const code = isSecret ? "secret-invalid" : "profile-invalid";
    if (value.includes("\0")) {
      const hint = isSecret ? DELIVER_BY_FILE : "a value without it";
      yield { code, reason: `${what} holds a NUL byte, which no variable can carry`, hint };
    }
    const excess = tooLong(`${name}=${value}`, platform);
    if (excess)
      yield {
        code,
        reason: `${what} is too long: ${excess}`,
        hint: isSecret ? DELIVER_BY_FILE : "a shorter value",
      };
  }
  for (const [index, arg] of args.entries()) {
    const what = `argument ${index + 1}`;
    const hint = "to pass it in a variable or a file";
    if (arg.includes("\0")) yield { code: "profile-invalid", reason: `${what} holds a NUL byte`, hint };
    const excess = tooLong(arg, platform);
    if (excess) yield { code: "profile-invalid", reason: `${what} is too long: ${excess}`, hint };
  }
}

/** Why one string does not fit, or undefined. */
function tooLong(text: string, platform: NodeJS.Platform): string | undefined {
  if (platform === "win32") {
    if (text.length < WINDOWS_CHARACTERS) return undefined;
    return `${count(text.length)} characters, and Windows takes ${count(WINDOWS_CHARACTERS - 1)}`;
  }
  if (platform !== "linux") return undefined;
  const bytes = Buffer.byteLength(text);
  if (bytes < LINUX_STRING_BYTES) return undefined;
  return `${count(bytes)} bytes, and Linux takes ${count(LINUX_STRING_BYTES - 1)}`;
}

function* problemsOfTotal({ command, args, env, secretNames, platform }: Launchable): Generator<Problem> {
  if (platform === "win32") {
    const characters = [command, ...args].reduce((sum, arg) => sum + arg.length + 1, 0);
    if (characters < WINDOWS_CHARACTERS) return;
    yield {
      code: "profile-invalid",
      reason: `its command line has ${count(characters)} characters, and Windows takes ${count(WINDOWS_CHARACTERS - 1)}`,
      hint: "fewer arguments, or a file that holds them",
    };
    return;
  }
  const limit = platform === "linux" ? LINUX_TOTAL_BYTES : MACOS_TOTAL_BYTES;
  const sizes = Object.entries(env).map(([name, value]) => ({ name, bytes: stringCost(`${name}=${value}`) }));
  const total =
    [command, ...args].reduce((sum, arg) => sum + stringCost(arg), 0) +
    sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total <= limit) return;
  const largest = sizes.sort((a, b) => b.bytes - a.bytes)[0];
  const isSecret = largest !== undefined && secretNames.has(largest.name);
  const blame = largest
    ? `; the largest is ${isSecret ? "secret" : "variable"} ${largest.name} with ${count(largest.bytes)}`
    : "";
  yield {
    code: isSecret ? "secret-invalid" : "profile-invalid",
    reason: `its arguments and environment come to ${count(total)} bytes, and this platform takes ${count(limit)}${blame}`,
    hint: "`deliver: file` for the largest, or a shorter `inheritEnv`",
  };
}

function stringCost(text: string): number {
  return Buffer.byteLength(text) + 1 + POINTER_BYTES;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

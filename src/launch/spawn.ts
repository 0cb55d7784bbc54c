/**
 * The only file that starts servers and programs. No shell, no environment but the one that is given, no
 * buffering, no clean-up behind our back; on posix a group and session of its own unless it shares our
 * terminal. The caller has to read the streams in the tick in which it gets them.
 */
import type { Readable, Writable } from "node:stream";
import { execa } from "execa";
import { McpRunError } from "../errors.ts";
import { silently } from "../secrets/silent-spawn.ts";
import { checkSecretNames } from "./dangerous-names.ts";
import type { Environment } from "./environment.ts";
import { type ExitStatus, exitStatusOf } from "./exit-status.ts";
import { findCommand } from "./find-command.ts";
import { checkPlatformLimits } from "./platform-limits.ts";

/** What is to be started; the profile, its overrides and its secrets, put together. */
export interface LaunchPlan {
  readonly command: string;
  /** `{{NAME}}` already replaced. */
  readonly args: readonly string[];
  /** Absolute. */
  readonly cwd: string;
  readonly env: Environment;
  /** Where a command without a separator is looked for; see commandSearchPath. */
  readonly searchPath: string;
  /** Which names in `env` are secrets. */
  readonly secretNames: ReadonlySet<string>;
  /** Called once when the program and all that came of it have gone, or when it could not be started. */
  readonly release?: () => Promise<void>;
}

export interface SpawnOptions {
  readonly platform: NodeJS.Platform;
  /** False on a terminal, where the program has to stay in our group. */
  readonly ownGroup: boolean;
  /** `pipe` gives the stream below; `inherit` the program gets ours. */
  readonly stdio: readonly [stdin: StdioChoice, stdout: StdioChoice, stderr: StdioChoice];
}

export type StdioChoice = "pipe" | "inherit";

export interface SpawnedProgram {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Calls `listener` in the tick in which the program is reaped: from then on the pid is not ours. */
  onExit(listener: (status: ExitStatus) => void): void;
}

/**
 * Throws McpRunError `command-not-found`, `command-not-executable`, `secret-invalid` or `profile-invalid`;
 * then nothing was started.
 */
export async function spawnProgram(plan: LaunchPlan, options: SpawnOptions): Promise<SpawnedProgram> {
  const { command, args, cwd, env, searchPath, secretNames } = plan;
  const { platform, ownGroup, stdio } = options;
  checkSecretNames(secretNames, platform);
  checkPlatformLimits({ command, args, env, secretNames, platform });
  const pathExt = platform === "win32" ? env.PATHEXT : undefined;
  const file = findCommand({ command, cwd, searchPath, platform, ...(pathExt && { pathExt }) });
  const subprocess = silently(() =>
    execa(file, args, {
      argv0: command,
      cwd,
      env,
      extendEnv: false,
      shell: false,
      stdio: [...stdio],
      buffer: false,
      reject: false,
      cleanup: false,
      windowsHide: true,
      detached: platform !== "win32" && ownGroup,
      // Not by NODE_DEBUG=execa either: it would print the arguments.
      verbose: "none",
    }),
  );
  const { pid } = subprocess;
  if (pid === undefined) throw spawnFailure(command, (await subprocess).code);
  return {
    pid,
    stdin: subprocess.stdin,
    stdout: subprocess.stdout,
    stderr: subprocess.stderr,
    onExit: (listener) => {
      subprocess.once("exit", (code, signal) => listener(exitStatusOf(code, signal)));
    },
  };
}

/** What findCommand could not foresee: it changed meanwhile, or the system is short of something. */
function spawnFailure(command: string, code: string | undefined): McpRunError {
  const reason = code ?? "the system gave no reason";
  if (code === "ENOENT")
    return new McpRunError("command-not-found", `Cannot start ${command}: it has gone (ENOENT)`);
  const hints: Record<string, string> = {
    E2BIG: "`deliver: file` for long secrets, or a shorter `inheritEnv`",
    ENOEXEC: "a program that was built for this machine",
    EAGAIN: "again when fewer processes run",
    EMFILE: "again with a higher `ulimit -n`",
  };
  const hint = hints[reason];
  return new McpRunError(
    "command-not-executable",
    `Cannot start ${command}: ${reason}`,
    hint ? { hint } : {},
  );
}

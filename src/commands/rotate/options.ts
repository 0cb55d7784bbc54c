/** What is typed after `mcp-run rotate PROFILE`, and what of it is refused before anything is looked at. */
import { McpRunError } from "../../errors.ts";
import { parseDuration } from "../../profile/quantities.ts";
import type { Ask } from "../../rotation/issuers/ask.ts";
import type { SecretSpec } from "../../secrets/spec.ts";
import type { CommandContext } from "../context.ts";

export interface RotateOptions {
  readonly reason?: string;
  readonly secret?: readonly string[];
  readonly all?: boolean;
  readonly mint?: boolean;
  readonly generate?: boolean;
  readonly fromStdin?: boolean;
  readonly revokeFirst?: boolean;
  readonly missingOk?: string;
  readonly ackTimeout: string;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly resume?: string;
  readonly rollback?: string;
  readonly takeOver?: string;
  readonly report?: string;
  readonly ifOlderThan?: string;
  readonly atOnce?: boolean;
}

/** Throws McpRunError `usage`. */
export function refuseContradictions(options: RotateOptions): void {
  const { mint, generate, fromStdin, resume: resumed, rollback: undone, reason, dryRun } = options;
  const refuse = (state: string, hint: string) =>
    new McpRunError("usage", `Cannot rotate: ${state}`, { hint });
  if ([mint, generate, fromStdin].filter(Boolean).length > 1)
    throw refuse("a new value comes from one place", "one of --mint, --generate and --from-stdin");
  if (options.all && options.secret !== undefined)
    throw refuse("--all is every secret, and --secret is one", "one of --secret and --all");
  if (resumed !== undefined && undone !== undefined)
    throw refuse("it can go on, or go back", "one of --resume and --rollback");
  if (dryRun && (resumed ?? undone) !== undefined)
    throw refuse(
      "a dry run is of a rotation that has not begun",
      "`--dry-run` without an id, or the id without it",
    );
  if (resumed === undefined && undone === undefined && !dryRun && !reason?.trim())
    throw refuse("a reason is wanted, for the record", '`--reason "leaked in build log"`');
}

/** Throws McpRunError `usage` where somebody has to be asked and nobody can be. */
export function refuseSilence(
  { stdin }: CommandContext,
  { yes, dryRun }: RotateOptions,
  ask: Ask | undefined,
): void {
  if (ask || yes || dryRun) return;
  throw new McpRunError("usage", "Cannot rotate: nobody is there to be asked", {
    hint: stdin.isTTY ? "`--yes` beside --from-stdin" : "a terminal, or `--yes`",
  });
}

/**
 * The ms of a duration as it is typed; throws McpRunError `usage` for what is none.
 *
 * @param wrong what the text is then, and `hint` how it should look
 */
export function msOf(text: string, wrong: string, hint: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new McpRunError("usage", `Cannot rotate: ${text} is ${wrong}`, { hint });
}

/** Throws McpRunError `usage`: whoever replaces such a key by another way leaves data behind that nobody can read. */
export function refuseOtherSource(
  { name, rotate }: SecretSpec,
  { fromStdin, generate }: RotateOptions,
): void {
  const encrypts = rotate?.source.type === "hook" && rotate.source.reencrypts;
  if (!encrypts || !(fromStdin || generate)) return;
  throw new McpRunError(
    "usage",
    `Cannot rotate ${name}: it encrypts something, and only its hook can encrypt that anew`,
    { hint: "`--mint`" },
  );
}

/** The hosts of `--missing-ok`. */
export function missingOk({ missingOk: hosts }: RotateOptions): readonly string[] {
  return hosts?.split(",").map((host) => host.trim()) ?? [];
}

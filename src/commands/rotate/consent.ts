/** What a person agrees to before a rotation begins: that it is done, and that other machines are not told. */
import { McpRunError } from "../../errors.ts";
import type { Target } from "../../rotation/contract.ts";
import type { Ask } from "../../rotation/issuers/ask.ts";
import { modeOf } from "../../rotation/modes.ts";
import type { WhoIsTold } from "./fleet.ts";
import { missingOk, type RotateOptions } from "./options.ts";

interface Asked {
  /** Undefined where nobody is there to be asked. */
  readonly ask: Ask | undefined;
  readonly options: RotateOptions;
}

/**
 * True also if nobody minds that it is not: what runs elsewhere keeps the old key. Throws McpRunError where nobody
 * can be asked.
 */
export async function isFleetThere(
  { told, ask, options }: Asked & { readonly told: WhoIsTold },
  refs: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  const { dryRun, yes } = options;
  const trouble = await told.trouble(refs, signal);
  if (!trouble) return true;
  const question = `${trouble.message}. Go on without other machines? Their servers keep the old key`;
  const isAsked = !dryRun && !missingOk(options).includes("*");
  if (isAsked && (yes || !ask)) {
    throw new McpRunError(trouble.code, `Cannot rotate on all machines: ${trouble.message}`, {
      hint: `${trouble.hint ?? "again in a moment"}; or \`--missing-ok '*'\`, and their servers keep the old key`,
    });
  }
  if (isAsked && !(await ask?.confirm(question, signal))) return false;
  told.goOnWithout(trouble);
  return true;
}

/**
 * Throws McpRunError where `--yes` is not enough: a new key has to be entered, or what a backend changes by itself fails
 * for a while.
 */
export async function isWanted(
  { ask, options }: Asked,
  targets: readonly Target[],
  signal: AbortSignal,
): Promise<boolean> {
  const { yes, revokeFirst } = options;
  const byHand = targets.flatMap(({ parts }) => parts).find(({ issuer }) => issuer.kind === "console");
  if (!ask && byHand) {
    throw new McpRunError(
      "usage",
      `Cannot rotate ${byHand.name}: a person makes a new one in a console, and nobody is there to be asked for it`,
      { hint: "a terminal, or `--from-stdin` with a value that you have made" },
    );
  }
  const live = targets.find((target) => !modeOf(target).overlap);
  if (yes && live && !revokeFirst) {
    throw new McpRunError(
      "usage",
      `Cannot rotate ${live.ref}: its backend changes the live key itself, so requests with the old one fail until their servers have the new one, and nobody has consented to that`,
      { hint: "`--revoke-first` beside `--yes`" },
    );
  }
  if (yes) return true;
  const question = live ? "Requests will fail in between. Do it?" : "Do it?";
  return (await ask?.confirm(question, signal)) === true;
}

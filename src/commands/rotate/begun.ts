/** A rotation that is to go on, or back, as its journal tells it before anybody is asked anything. */
import { McpRunError } from "../../errors.ts";
import { readJournal, refuseEnded } from "../../rotation/journal/journal.ts";
import { commandOf, type PlanLine } from "../../rotation/journal/journal-line.ts";
import type { RotateOptions } from "./options.ts";

type Typed = Pick<RotateOptions, "mint" | "generate" | "fromStdin" | "revokeFirst" | "takeOver" | "secret">;

/**
 * Throws McpRunError `usage` where there is none, it is another profile's, it has ended, or what was typed beside it is
 * not as it was planned.
 */
export async function begunRotation(
  folder: string,
  id: string,
  profile: string,
  typed: Typed = {},
): Promise<PlanLine> {
  const { lines } = await readJournal(folder, id);
  const [plan] = lines;
  if (plan?.kind !== "plan") throw new Error("a journal begins with its plan");
  if (plan.profile !== profile) {
    throw new McpRunError("usage", `Cannot go on with ${id}: it is a rotation of ${plan.profile}`, {
      hint: commandOf(plan, "--resume"),
    });
  }
  refuseEnded({ plan, lines });
  refuseAnotherPlan(plan, typed);
  return plan;
}

/** Its issuer alone knows its keys, and its order stands. */
function refuseAnotherPlan(plan: PlanLine, typed: Typed): void {
  const { mint, generate, fromStdin, revokeFirst, takeOver, secret = [] } = typed;
  const refuse = (state: string, hint: string = commandOf(plan, "--resume")) =>
    new McpRunError("usage", `Cannot go on with ${plan.rotation}: ${state}`, { hint });
  const parts = plan.targets.flatMap((target) => target.parts);
  const flag = generate ? "--generate" : fromStdin ? "--from-stdin" : mint ? "--mint" : undefined;
  const isIt = (kind: string) =>
    generate ? kind === "generate" : fromStdin ? kind === "stdin" : kind !== "stdin";
  const other = flag && parts.find(({ issuer }) => !isIt(issuer));
  if (other)
    throw refuse(`the new ${other.name} comes from \`${other.issuer}\` by its plan, and not by ${flag}`);
  const unknown = secret.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined) throw refuse(`${unknown} is none of its secrets`);
  if (takeOver !== undefined && takeOver !== plan.options.takeOver)
    throw refuse("it takes nothing over by its plan", "another rotation with `--take-over`");
  if (revokeFirst && !plan.options.revokeFirst) {
    const hint = `another rotation with \`--revoke-first --take-over ${plan.rotation}\``;
    throw refuse("it revokes the old key last by its plan", hint);
  }
}

/** A rotation that is to go on, or back, as its journal tells it before anybody is asked anything. */
import { McpRunError } from "../../errors.ts";
import { readJournal, refuseEnded } from "../../rotation/journal/journal.ts";
import { commandOf, type PlanLine } from "../../rotation/journal/journal-line.ts";
import type { RotateOptions } from "./options.ts";

type Typed = Pick<
  RotateOptions,
  "mint" | "generate" | "fromStdin" | "revokeFirst" | "takeOver" | "secret" | "rollback"
>;

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
      hint: sameWay(plan, typed),
    });
  }
  refuseEnded({ plan, lines });
  refuseAnotherPlan(plan, typed);
  return plan;
}

/** What was typed, without what can't be had: going on would revoke the old key for somebody who wants it back. */
function sameWay(plan: PlanLine, { rollback }: Typed): string {
  return commandOf(plan, rollback === undefined ? "--resume" : "--rollback");
}

/** Its issuer alone knows its keys, and its order stands. */
function refuseAnotherPlan(plan: PlanLine, typed: Typed): void {
  const { mint, generate, fromStdin, revokeFirst, takeOver, secret = [] } = typed;
  const refuse = (state: string, another?: string) => {
    const isOther = another !== undefined && typed.rollback === undefined;
    const hint = isOther ? `another rotation with \`${another}\`` : sameWay(plan, typed);
    return new McpRunError("usage", `Cannot go on with ${plan.rotation}: ${state}`, { hint });
  };
  const parts = plan.targets.flatMap((target) => target.parts);
  const flag = generate ? "--generate" : fromStdin ? "--from-stdin" : mint ? "--mint" : undefined;
  const isIt = (kind: string) =>
    generate ? kind === "generate" : fromStdin ? kind === "stdin" : kind !== "stdin";
  const other = flag && parts.find(({ issuer }) => !isIt(issuer));
  if (other)
    throw refuse(`the new ${other.name} comes from \`${other.issuer}\` by its plan, and not by ${flag}`);
  // Of those typed when it was planned, a second name of one value is not in the plan, nor is what was too young.
  if (secret.length > 0 && !parts.some(({ name }) => secret.includes(name)))
    throw refuse(`${secret.join(" and ")} ${secret.length === 1 ? "is" : "are"} none of its secrets`);
  const { takeOver: takenOver } = plan.options;
  if (takeOver !== undefined && takeOver !== takenOver) {
    const what = takenOver === undefined ? "nothing over" : `over ${takenOver}`;
    throw refuse(`it takes ${what} by its plan`, `--take-over ${takeOver}`);
  }
  if (revokeFirst && !plan.options.revokeFirst)
    throw refuse("it revokes the old key last by its plan", `--revoke-first --take-over ${plan.rotation}`);
}

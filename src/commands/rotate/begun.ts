/** A rotation that is to go on, or back, as its journal tells it before anybody is asked anything. */
import { McpRunError } from "../../errors.ts";
import { readJournal, refuseEnded } from "../../rotation/journal/journal.ts";
import { commandOf, type PlanLine } from "../../rotation/journal/journal-line.ts";

/** Throws McpRunError `usage` where there is none, it is another profile's, or it has ended. */
export async function begunRotation(folder: string, id: string, profile: string): Promise<PlanLine> {
  const { lines } = await readJournal(folder, id);
  const [plan] = lines;
  if (plan?.kind !== "plan") throw new Error("a journal begins with its plan");
  if (plan.profile !== profile) {
    throw new McpRunError("usage", `Cannot go on with ${id}: it is a rotation of ${plan.profile}`, {
      hint: commandOf(plan, "--resume"),
    });
  }
  refuseEnded({ plan, lines });
  return plan;
}

/** Rotations of the same secrets that were begun and have not ended: while one is worked on, no other begins. */
import { McpRunError } from "../../errors.ts";
import { unfinishedRotations } from "../../rotation/journal/journal.ts";
import type { PlanLine } from "../../rotation/journal/journal-line.ts";
import { isAtWork } from "../../rotation/journal/journal-lock.ts";

type Planned = Pick<PlanLine, "targets">;

/** Those that nobody works on, oldest first. Throws McpRunError `rotation-incomplete` where somebody does. */
export async function earlierRotations(folder: string, { targets }: Planned): Promise<readonly PlanLine[]> {
  // A journal that is damaged is told by `status`, and says nothing here.
  const unfinished = await unfinishedRotations(folder, () => undefined);
  const earlier = unfinished.map(({ plan }) => plan).filter((plan) => plan.targets.some(isAmong(targets)));
  for (const { rotation, operator, at, targets: theirs } of earlier) {
    if (!(await isAtWork(folder, rotation))) continue;
    const ref = theirs.find(isAmong(targets))?.ref;
    throw new McpRunError(
      "rotation-incomplete",
      `Cannot rotate ${ref}: ${operator} is at work on it since ${at} (rotation ${rotation})`,
      { hint: "again when that has ended; `mcp-run status` says so" },
    );
  }
  return earlier;
}

function isAmong(targets: Planned["targets"]) {
  return ({ ref, place }: Planned["targets"][number]): boolean =>
    targets.some((other) => other.ref === ref || (place !== undefined && other.place === place));
}

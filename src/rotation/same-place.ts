/**
 * Whoever goes on with a rotation works on the very documents of its plan. The same refs may lead elsewhere by now: to
 * another store, or to the same one by another address since its first server was lost, and only a person knows which.
 */
import { McpRunError } from "../errors.ts";
import type { Target } from "./contract.ts";
import { isLive } from "./modes.ts";
import type { Run } from "./run.ts";
import { plannedTarget } from "./steps/backend-steps.ts";
import { nothingKnown, presentOf } from "./steps/standing.ts";

/**
 * Throws McpRunError `profile-invalid`. Of a store that gives no answer within a minute nothing is known: no step can
 * take it for another. All are looked at together, so that a backend that is down costs that minute once.
 */
export async function mustBeWhereItWas(run: Run, signal: AbortSignal): Promise<void> {
  const looks = run.targets.map(async (target) => {
    const { ref, place: planned } = plannedTarget(run, target.ref);
    return { ref, planned, place: planned === undefined ? undefined : await placeOf(run, target, signal) };
  });
  for (const { ref, planned, place } of await Promise.all(looks)) {
    if (planned === undefined || place === undefined || place === planned) continue;
    if ((await run.ask({ type: "elsewhere", target: ref, planned, place }, signal)) === "go-on") continue;
    throw new McpRunError(
      "profile-invalid",
      `Cannot go on with rotation ${run.plan.rotation}: ${ref} is at ${place} by the profile now, and it was planned for ${planned}`,
      {
        hint: "the machine and the settings of its provider as they were when the rotation began, or again at a terminal without `--yes` if both are one store",
      },
    );
  }
}

async function placeOf(run: Run, target: Target, signal: AbortSignal): Promise<string | undefined> {
  const { own } = target;
  if (own && !isLive(own)) return own.place;
  return (await presentOf(run, target, signal).catch(nothingKnown))?.place;
}

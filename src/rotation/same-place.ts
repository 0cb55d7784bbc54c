/** Whoever goes on with a rotation works on the very documents of its plan: the same refs may lead elsewhere by now. */
import { McpRunError, ProviderError } from "../errors.ts";
import { inTime } from "../secrets/in-time.ts";
import type { Target } from "./contract.ts";
import { isLive } from "./modes.ts";
import { type Run, STORE_LIMIT } from "./run.ts";
import { plannedTarget } from "./steps/backend-steps.ts";

/** Throws McpRunError `profile-invalid`. Of a store that does not answer nothing is known: no step can take it for another. */
export async function mustBeWhereItWas(run: Run, signal: AbortSignal): Promise<void> {
  const { clock } = run.deps;
  for (const target of run.targets) {
    const { ref, place: planned } = plannedTarget(run, target.ref);
    if (planned === undefined) continue;
    const place = await inTime({ clock, ...STORE_LIMIT, signal }, (limited) =>
      placeOf(target, limited),
    ).catch(nothingKnown);
    if (place === undefined || place === planned) continue;
    throw new McpRunError(
      "profile-invalid",
      `Cannot go on with rotation ${run.plan.rotation}: ${ref} is at ${place} by the profile now, and it was planned for ${planned}`,
      { hint: "the settings of its provider as they were when the rotation began" },
    );
  }
}

async function placeOf({ own, store }: Target, signal: AbortSignal): Promise<string | undefined> {
  if (own && !isLive(own)) return own.place;
  return (await (own ?? store).read(signal))?.place;
}

function nothingKnown(error: unknown): undefined {
  if (!(error instanceof ProviderError)) throw error;
  return undefined;
}

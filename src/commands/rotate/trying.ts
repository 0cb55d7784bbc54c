/** Who tries the new keys of a profile, and whose old ones are tried. */
import type { Profile } from "../../profile/profile.ts";
import { SupervisorCanary } from "../../rotation/canary/supervisor-canary.ts";
import type { Canary } from "../../rotation/contract.ts";
import type { RotationDeps } from "../../rotation/run.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import { controlPlace } from "../control-place.ts";
import { canaryOf, whyAlone } from "../start/trial-server.ts";

/** @param needles as canaryOf takes them */
export function triesOf(
  context: CommandContext,
  profile: Profile,
  needles: NeedleSet,
): Required<Pick<RotationDeps, "canary" | "triesOld">> {
  const { name, file, probe } = profile;
  const canary: Canary = new SupervisorCanary({
    place: controlPlace(context),
    clock: context.clock,
    profile: { name, file, hasProbe: probe !== undefined, alone: whyAlone(profile) },
    own: canaryOf(context, profile, { needles, ranBy: "mcp-run rotate" }),
  });
  const { negative } = probe ?? {};
  return { canary, triesOld: (secret) => negative === true || (negative?.includes(secret) ?? false) };
}

/** The canary of a profile: its server as `run` would start it, with what else it needs fetched from the backends. */
import { version } from "../../../package.json";
import type { Profile } from "../../profile/profile.ts";
import { ServerCanary } from "../../rotation/canary.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import { SecretsInUse } from "../start/secrets-in-use.ts";
import { serverLimits, surroundings } from "../start/serving.ts";

/** @param needles those of the printer too: what the canary gets is added to them */
export function canaryOf(context: CommandContext, profile: Profile, needles: NeedleSet): ServerCanary {
  const { onSignal: _onSignal, ...around } = surroundings(context);
  return new ServerCanary({
    ...around,
    ...serverLimits(profile),
    probe: profile.probe,
    clientVersion: version,
    needles,
    prepare: async (candidates, signal) => {
      const inUse = new SecretsInUse({ context, profile, purpose: "trial", candidates }, needles);
      await inUse.fetch(signal);
      return { start: () => inUse.start().plan, release: () => inUse.release() };
    },
  });
}

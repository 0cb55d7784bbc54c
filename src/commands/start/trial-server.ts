/** The canary of a profile: its server as `run` would start it, with what else it needs fetched from the backends. */
import { version } from "../../../package.json";
import type { Profile } from "../../profile/profile.ts";
import { ServerCanary } from "../../rotation/canary/canary.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { CommandContext } from "../context.ts";
import { quotable } from "../quotable.ts";
import { SecretsInUse } from "./secrets-in-use.ts";
import { serverLimits, surroundings } from "./serving.ts";

export interface CanaryParts {
  /** Those of the printer too: what the canary gets is added to them. */
  readonly needles: NeedleSet;
  /** Who runs it, for people. */
  readonly ranBy: string;
  /** The secrets of one trial, with these values in their places; those of `run` without it. */
  readonly inUse?: (values: ReadonlyMap<string, Secret>) => SecretsInUse;
}

export function canaryOf(
  context: CommandContext,
  profile: Profile,
  { needles, ranBy, inUse }: CanaryParts,
): ServerCanary {
  const { onSignal: _onSignal, ...around } = surroundings(context);
  const launch = { context, profile, purpose: "trial" } as const;
  const secretsWith =
    inUse ??
    ((candidates: ReadonlyMap<string, Secret>) => new SecretsInUse({ ...launch, candidates }, needles));
  return new ServerCanary({
    ...around,
    ...serverLimits(profile),
    probe: profile.probe,
    clientVersion: version,
    needles,
    ranBy,
    masked: (text) => quotable(text, []),
    prepare: async (values, signal) => {
      const secrets = secretsWith(values);
      await secrets.fetch(signal);
      return { start: () => secrets.start().plan, release: () => secrets.release() };
    },
  });
}

/** Why no second server of a profile is started beside one that runs; undefined if it may be. */
export function whyAlone({ refresh: { restart } }: Pick<Profile, "refresh">): string | undefined {
  return restart === "overlap" ? undefined : `its server can't run twice (refresh.restart is ${restart})`;
}

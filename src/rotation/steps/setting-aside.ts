/**
 * What becomes of a target that somebody else has replaced, once nothing can be put back: the others go on without it,
 * since their old keys may be refused already. Its servers are to have what is there; our key for it is ended after that.
 */
import { ProviderError } from "../../errors.ts";
import type { Target } from "../contract.ts";
import type { Prints } from "../fingerprints.ts";
import { noWayBack, takeOverOf } from "../no-way-back.ts";
import type { Run, TargetStep } from "../run.ts";
import { isRefused, isTheirs, nothingKnown, standingOf, theirsText } from "./standing.ts";
import { discard, revokeNew } from "./ways-back.ts";

/**
 * The target that failed last, if nothing but a key of somebody else's keeps the rotation from both ways.
 *
 * @param error what it has failed with
 */
export async function targetToSetAside(
  run: Run,
  error: unknown,
  signal: AbortSignal,
): Promise<{ readonly ref: string; readonly reason: string } | undefined> {
  if (!isRefused(error) || noWayBack(run) === undefined) return undefined;
  const target = run.targets.find(({ ref }) => ref === run.failedAt);
  if (!target || !canBeLeftOut(run, target)) return undefined;
  const standing = await standingOf(run, target, signal).catch((failure: unknown) =>
    signal.aborted ? undefined : nothingKnown(failure),
  );
  if (!standing || !isTheirs(run, standing)) return undefined;
  const replaced = standing.parts.filter(({ whose }) => whose === "another");
  const names = replaced.map(({ part }) => part.name).join(" and ");
  const what = theirsText(names, target.ref, standing.version);
  const reason = `${what}; servers take that, and it was not tried: ask who it was whether the key is good`;
  return { ref: target.ref, reason };
}

/** Not where its new key belongs to what lies elsewhere as well, or where only our key can read what it encrypts. */
function canBeLeftOut({ targets }: Run, target: Target): boolean {
  const { parts } = target;
  if (target.own || parts.some(({ issuer }) => issuer.reencrypt !== undefined)) return false;
  const leaders = new Set(parts.map(({ name, comesWith }) => comesWith ?? name));
  const others = targets.filter((other) => other !== target).flatMap((other) => other.parts);
  return !others.some(({ name, comesWith }) => leaders.has(comesWith ?? name));
}

/** What it holds now is what its servers are to have, by the part's name. Rejects as standingOf does. */
export async function printsSetAside(run: Run, signal: AbortSignal): Promise<ReadonlyMap<string, Prints>> {
  const prints = new Map<string, Prints>();
  for (const target of run.targets.filter(({ ref }) => run.progress.isSetAside(ref))) {
    const { parts } = await standingOf(run, target, signal).catch((error: unknown) => {
      if (!(error instanceof ProviderError)) throw error;
      throw new ProviderError(
        error.failure,
        `${target.ref}: ${error.reason}`,
        error.hint === undefined ? {} : { hint: error.hint },
      );
    });
    for (const { part, value, whose } of parts) {
      // With the old value there its key is not ended, and nobody has to be rid of it.
      if (value && whose !== "old") prints.set(part.name, run.prints(part, value));
    }
  }
  return prints;
}

/** Not what somebody has put there after all: servers take that. */
const revokeUnneeded: TargetStep = {
  ...revokeNew,
  async forTarget(run, target, signal) {
    const { parts } = await standingOf(run, target, signal);
    const used = parts.find(({ part, value }) => {
      const print = run.progress.mintedFor(part.name).at(-1)?.fingerprint;
      return part.comesWith === undefined && value && run.isKeyOf(print, value);
    });
    if (!used) return revokeNew.forTarget(run, target, signal);
    run.hint ??= takeOverOf(run);
    const reason = `somebody has put the new ${used.part.name} into ${target.ref} after all, where servers take it`;
    return { isDone: false, reason };
  },
};

/** After everybody has been told: where it is not certain that ours was never promoted, somebody may have had it. */
export const STEPS_OF_SETTING_ASIDE: readonly TargetStep[] = [revokeUnneeded, discard].map((step) => ({
  ...step,
  isNeeded: (run, target) => run.progress.isSetAside(target.ref) && step.isNeeded?.(run, target) !== false,
}));

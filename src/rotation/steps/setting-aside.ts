/**
 * What becomes of a target that somebody else has replaced, once nothing can be put back: the others go on without it,
 * since their old keys may be refused already. Its servers are to have what is there; our key for it is ended after that.
 */
import { ProviderError } from "../../errors.ts";
import type { Target } from "../contract.ts";
import { noWayBack } from "../no-way-back.ts";
import type { Run, TargetStep } from "../run.ts";
import { isTheirs, nothingKnown, standingOf, theirsText } from "./standing.ts";
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
  const isRefused =
    error instanceof ProviderError && (error.failure === "conflict" || error.failure === "missing");
  if (!isRefused || noWayBack(run) === undefined) return undefined;
  const target = run.targets.find(({ ref }) => ref === run.failedAt);
  if (!target || !canBeLeftOut(run, target)) return undefined;
  const standing = await standingOf(run, target, signal).catch(nothingKnown);
  if (!standing || !isTheirs(run, standing)) return undefined;
  const names = target.parts.map(({ name }) => name).join(" and ");
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

/** After everybody has been told: where it is not certain that ours was never promoted, somebody may have had it. */
export const STEPS_OF_SETTING_ASIDE: readonly TargetStep[] = [revokeNew, discard].map((step) => ({
  ...step,
  isNeeded: (run, target) => run.progress.isSetAside(target.ref) && step.isNeeded?.(run, target) !== false,
}));

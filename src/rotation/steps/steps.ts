/**
 * The steps up to the one that everybody sees, and telling them: what they read and write, and how each is taken again
 * after a crash. Their order is at the end.
 */
import { ProviderError } from "../../errors.ts";
import { heldByAnother } from "../../secrets/provider.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Prints } from "../fingerprints.ts";
import type { Facts, PlannedPart } from "../journal/journal-line.ts";
import { hasStep } from "../modes.ts";
import { noWayBack, takeOverOf } from "../no-way-back.ts";
import type { OverallStep, Run, Step, TargetStep } from "../run.ts";
import { documentWith, partValue } from "../target.ts";
import { rotateLive, wantedLeases } from "./backend-steps.ts";
import { endingSteps } from "./ending.ts";
import { holdAfter, holdBefore } from "./holding.ts";
import { candidateOf, dropCandidate, mintStep } from "./mint.ts";
import { reencryptStep } from "./reencrypt.ts";
import { printsSetAside, STEPS_OF_SETTING_ASIDE } from "./setting-aside.ts";
import { spread } from "./spread.ts";
import { isOurs, isRefused, replacedByOthers, type Standing, standingOf } from "./standing.ts";
import { canaryStep } from "./trying.ts";
import { wantedOf } from "./wanted.ts";

/** Refuses what another rotation holds; the candidate itself is the lock. */
const lock: TargetStep = {
  name: "lock",
  isBounded: true,
  isNeeded: (_run, target) => hasStep(target, "lock"),
  async forTarget({ plan }, { store }, signal) {
    const candidate = await store.findCandidate(signal);
    if (!candidate || candidate.rotationId === plan.rotation) return {};
    if (candidate.rotationId !== plan.options.takeOver) throw heldByAnother(candidate);
    await store.discard(candidate.rotationId, signal);
    return { reason: `the candidate of rotation ${candidate.rotationId} was given up` };
  },
};

/** Puts the new document beside the old one, made from what is there now. */
const candidate: TargetStep = {
  name: "candidate",
  isBounded: true,
  isNeeded: ({ progress }, target) => hasStep(target, "candidate") && !progress.isSetAside(target.ref),
  async forTarget(run, target, signal): Promise<Facts> {
    const { plan } = run;
    const { store, ref } = target;
    const hasFields = target.parts.some(({ field }) => field);
    const present = hasFields ? await store.read(signal) : undefined;
    if (hasFields) refuseOtherKeys(run, ref, target.parts, present?.value);
    const base = hasFields ? present?.version : plan.targets.find((other) => other.ref === ref)?.version;
    const document = documentWith(target, run.values, present?.value);
    const mine = await candidateOf(run, target, signal);
    // From a document that somebody has changed since.
    if (mine && !mine.equals(document)) await store.discard(plan.rotation, signal);
    const { rotation: rotationId, operator } = plan;
    await store.putCandidate(
      document,
      { rotationId, operator, createdAt: new Date(run.deps.clock.now()) },
      signal,
    );
    // No other rotation can promote from here on; one may have done so right before, and then ours is of no use.
    const planned = (await store.read(signal))?.value;
    refuseOtherKeys(run, ref, target.parts, planned);
    for (const part of target.parts) {
      const value = partValue(part, planned);
      if (value) run.oldValues.set(part.name, value);
    }
    return { base: base ?? null, fingerprint: run.fingerprint(document) };
  },
};

/** Throws ProviderError `conflict` where somebody has changed not a sibling but the very key. */
function refuseOtherKeys(
  run: Run,
  ref: string,
  parts: readonly { readonly name: string; readonly field?: readonly string[] }[],
  document: Secret | undefined,
): void {
  for (const part of parts) {
    const value = partValue(part, document);
    if (run.isPlanned(part, value)) continue;
    throw new ProviderError(
      "conflict",
      `somebody has changed ${part.name} in ${ref} since the plan was made, and the old key may be valid still`,
      { hint: wayOn(run) ?? "asking whoever has changed it to end the old key" },
    );
  }
}

const promote: TargetStep = {
  name: "promote",
  isBounded: true,
  isNeeded: ({ progress }, target) => hasStep(target, "promote") && !progress.isSetAside(target.ref),
  async forTarget(run, target, signal) {
    const { store, ref } = target;
    const { rotation } = run.plan;
    const base = run.progress.factsOf("candidate", ref)?.base ?? undefined;
    try {
      return { version: (await store.promote(rotation, base, signal)).version };
    } catch (error) {
      if (!isRefused(error)) throw error;
      // One that was broken off may have come through, and somebody has written another field since.
      const now = await standingOf(run, target, signal);
      if (now.version === undefined || !isOurs(run, now)) throw withWayOn(run, error, now);
      await dropCandidate(run, target, signal);
      return { version: now.version };
    }
  },
};

/** What to try where a key of somebody else's keeps the rotation from both ways. */
function wayOn(run: Run): string | undefined {
  return noWayBack(run) === undefined ? undefined : takeOverOf(run);
}

function withWayOn(run: Run, error: ProviderError, { parts }: Standing): ProviderError {
  const hint = wayOn(run);
  // Also the old one, in whatever spelling: ours can't be put over what somebody has written since.
  if (hint === undefined || !parts.some(({ whose }) => whose === "another" || whose === "old")) return error;
  return new ProviderError(error.failure, error.reason, { hint });
}

const tell: OverallStep = {
  name: "spread",
  async forAll(run, signal) {
    const look = async () => {
      const replaced = await replacedByOthers(run, signal);
      const aside = await printsSetAside(run, signal);
      const values = wantedOf(
        run,
        (part) => aside.get(part.name) ?? replaced.get(part.name)?.prints ?? newPrints(run, part),
        (part) => part,
      );
      return { wanted: [...values, ...wantedLeases(run)], replaced };
    };
    return spread(run, look, "the new value", signal);
  },
};

/** Of what is set aside nobody is to have what was made for it. */
function newPrints({ plan, progress }: Run, part: PlannedPart): Prints | undefined {
  const target = plan.targets.find(({ parts }) => parts.includes(part));
  return target && progress.isSetAside(target.ref) ? undefined : progress.mintedFor(part.name).at(-1);
}

const { revoke, verify, retire } = endingSteps;

/** Each over all targets before the next one begins. */
export const STEPS: readonly Step[] = [
  lock,
  mintStep,
  candidate,
  canaryStep,
  rotateLive,
  promote,
  tell,
  ...STEPS_OF_SETTING_ASIDE,
  reencryptStep,
  revoke,
  verify,
  retire,
];

/** Under active abuse. The second time ends only what could not be ended before. */
export const STEPS_REVOKING_FIRST: readonly Step[] = [
  lock,
  mintStep,
  candidate,
  rotateLive,
  holdBefore,
  revoke,
  holdAfter,
  verify,
  canaryStep,
  promote,
  tell,
  ...STEPS_OF_SETTING_ASIDE,
  reencryptStep,
  revoke,
  verify,
  retire,
];

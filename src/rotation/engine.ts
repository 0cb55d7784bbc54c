/**
 * Runs the steps of a rotation over all its targets: an intent before each, a fact after it. What has a fact is
 * skipped, so that a rotation which was cut off anywhere goes on from there. What fails before anybody has the new key
 * is taken back; after that nothing is, unless the operator wants it.
 */
import { McpRunError, ProviderError } from "../errors.ts";
import type { Target } from "./contract.ts";
import type { Outcome } from "./happening.ts";
import { Journal, type JournalPlace, refuseEnded } from "./journal/journal.ts";
import { commandOf, type Facts, type OutcomeWord } from "./journal/journal-line.ts";
import { noWayBack } from "./no-way-back.ts";
import { outcomeOf } from "./outcome.ts";
import type { RotationPlan } from "./plan.ts";
import { isInterruption, type RotationDeps, Run, type Step, type TargetStep } from "./run.ts";
import { mustBeWhereItWas } from "./same-place.ts";
import { triesOf } from "./steps/backend-steps.ts";
import { isNotPromoted, isOutOfUse, whatBecame } from "./steps/overtaken.ts";
import { targetToSetAside } from "./steps/setting-aside.ts";
import { isRefused } from "./steps/standing.ts";
import type { StepName } from "./steps/step-names.ts";
import { STEPS, STEPS_REVOKING_FIRST } from "./steps/steps.ts";
import { obstacleToRestoring, STEPS_OF_DISCARDING, STEPS_OF_ROLLBACK } from "./steps/ways-back.ts";

/** How often a candidate is made anew because somebody has changed another field of its document. */
const MOST_REBASES = 3;
/** Ms for taking back what was done, also when the rotation was interrupted. */
const WAY_BACK_MS = 120_000;
/** A failure of one target keeps the others from nothing. */
const TOLERANT: ReadonlySet<StepName> = new Set([
  "reencrypt",
  "revoke",
  "verify",
  "retire",
  "discard",
  "revoke-new",
]);

/** What a step has left undone without having failed: somebody did not want to go on. */
class Unfinished extends McpRunError {}

/** Throws McpRunError if it can't begin; then nothing has been done. */
export function rotate(
  { record, targets }: RotationPlan,
  place: JournalPlace,
  deps: RotationDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  return Journal.create(place, record, signal, (journal) => {
    deps.emit({ type: "began", rotation: record.rotation, isResumed: false });
    return goOn(new Run(journal, targets, deps), signal);
  });
}

/** Goes on where its journal ends. Throws McpRunError where there is nothing to go on with. */
export function resume(
  rotation: string,
  targets: readonly Target[],
  place: JournalPlace,
  deps: RotationDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  return Journal.open(place, rotation, signal, async (journal) => {
    const run = await openRun(journal, targets, deps, signal);
    deps.emit({ type: "began", rotation, isResumed: true });
    if (run.progress.isPastReturn || run.progress.direction !== "forward") journal.mustGoOn();
    return goOn(run, signal);
  });
}

/**
 * Puts the old values back and ends the new keys. Throws McpRunError where that is no way: an old key may be revoked,
 * or the operator does not want it.
 */
export function rollback(
  rotation: string,
  targets: readonly Target[],
  place: JournalPlace,
  deps: RotationDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  return Journal.open(place, rotation, signal, async (journal) => {
    const run = await openRun(journal, targets, deps, signal);
    const { progress, plan } = run;
    if (progress.direction !== "rollback") {
      const refuse = (state: string, hint: string) =>
        new McpRunError("rotation-incomplete", `Cannot roll back rotation ${rotation}: ${state}`, { hint });
      const noWay = noWayBack(run);
      if (noWay !== undefined) throw refuse(noWay, commandOf(plan, "--resume"));
      const replaced = plan.targets.filter(
        ({ ref, parts }) =>
          !progress.isSetAside(ref) && parts.some(({ fingerprint }) => fingerprint !== undefined),
      );
      const question = { type: "put-back", targets: replaced.map(({ ref }) => ref) } as const;
      // What was not there before has no old key that could be leaked.
      if (replaced.length > 0 && (await run.ask(question, signal)) !== "go-on") {
        throw refuse("the old key was not wanted back", commandOf(plan, "--resume"));
      }
      const obstacle = await obstacleToRestoring(run, signal);
      if (obstacle) throw refuse(obstacle.reason, obstacle.hint);
      await turn(run, progress.isPastReturn ? "rollback" : "discard", "the operator wants the old key back");
    }
    deps.emit({ type: "began", rotation, isResumed: true });
    journal.mustGoOn();
    return goOn(run, signal);
  });
}

async function openRun(
  journal: Journal,
  targets: readonly Target[],
  deps: RotationDeps,
  signal: AbortSignal,
): Promise<Run> {
  refuseEnded(journal);
  const run = new Run(journal, targets, deps);
  await mustBeWhereItWas(run, signal);
  return run;
}

async function goOn(run: Run, signal: AbortSignal): Promise<Outcome> {
  switch (run.progress.direction) {
    case "forward":
      return goForward(run, signal);
    case "discard":
      return takeBack(run, reasonOfTurn(run));
    case "rollback":
      return goBack(run, signal);
  }
}

async function goForward(run: Run, signal: AbortSignal): Promise<Outcome> {
  const steps = stepsOf(run);
  let rebases = 0;
  // Whoever goes on has not seen it happen.
  for (const message of run.progress.setAsideFor) run.deps.emit({ type: "note", message });
  for (let at = 0; at < steps.length; at++) {
    const step = steps[at] as Step;
    try {
      await take(run, step, signal);
    } catch (error) {
      const isOver = rebases >= MOST_REBASES;
      // Then the same step again, for the others.
      if (await setAside(run, step, error, signal)) at--;
      else if (step.name === "promote" && !isOver && (await rebased(run, error, signal))) {
        rebases++;
        at = steps.findIndex(({ name }) => name === "mint") - 1;
      } else return afterFailure(run, step, error, signal);
    }
  }
  return finish(run, "done", undefined);
}

/** Each target after the other, unless the journal says that it is done. */
async function take(run: Run, step: Step, signal: AbortSignal): Promise<void> {
  const { progress } = run;
  if ("forAll" in step) {
    if ((progress.isDone(step.name) && !step.isRepeated) || step.isNeeded?.(run) === false) return;
    return expectDone(step.name, await run.perform(step, signal));
  }
  for (const target of run.targets) {
    const isDone = step.name !== "mint" && progress.isDone(step.name, target.ref);
    if (isDone || step.isNeeded?.(run, target) === false) continue;
    await takeFor(run, step, target, signal);
  }
  // A key that had to be minted again unmakes candidates, and with them it is unknown what else they held.
  if (step.name === "mint" && isAnywhereNeeded(run, step)) await take(run, step, signal);
}

async function takeFor(run: Run, step: TargetStep, target: Target, signal: AbortSignal): Promise<void> {
  try {
    const facts = await run.perform(step, signal, target);
    if (!TOLERANT.has(step.name)) expectDone(step.name, facts);
  } catch (error) {
    if (!TOLERANT.has(step.name) || !isFailure(error) || signal.aborted) throw error;
    run.hint ??= hintOf(error);
    const facts = { isDone: false, reason: run.whyFailed(error) } as const;
    await run.write({ kind: "fact", step: step.name, target: target.ref, facts });
  }
}

function isAnywhereNeeded(run: Run, step: TargetStep): boolean {
  return run.targets.some((target) => step.isNeeded?.(run, target));
}

function expectDone(name: StepName, { isDone, reason }: Facts): void {
  if (isDone === false) throw new Unfinished("rotation-incomplete", reason ?? `${name} is not done`);
}

/** Whether the rotation goes on without the target at which the step has failed. */
async function setAside(run: Run, { name }: Step, error: unknown, signal: AbortSignal): Promise<boolean> {
  if ((name !== "candidate" && name !== "promote") || signal.aborted) return false;
  const found = await targetToSetAside(run, error, signal);
  if (!found) return false;
  if (name === "promote") await settlePromotions(run, error);
  // Then all of it is given up.
  if (await isOutOfUse(run, signal)) return false;
  await turn(run, "set-aside", found.reason, found.ref);
  return true;
}

/** Whether a promotion that was refused can be tried again with a candidate out of the document that is there now. */
async function rebased(run: Run, error: unknown, signal: AbortSignal): Promise<boolean> {
  if (!(error instanceof ProviderError) || error.failure !== "conflict" || signal.aborted) return false;
  const target = run.targets.find(({ ref }) => ref === run.failedAt);
  if (!target || target.parts.some(({ field }) => !field)) return false;
  if ((await whatBecame(run, target, signal)) !== "overtaken") return false;
  await turn(run, "rebase", "somebody has changed another field of it meanwhile", target.ref);
  return true;
}

async function afterFailure(run: Run, step: Step, error: unknown, signal: AbortSignal): Promise<Outcome> {
  const reason = run.whyFailed(error);
  if (step.name === "mint" && run.plan.options.revokeFirst && isFailure(error) && !signal.aborted) {
    await revokeWithoutNew(run, reason, signal);
  }
  if (step.name === "promote") await settlePromotions(run, error);
  if (step.name === "rotate") await settleRefusal(run, error, reason);
  let outcome: Outcome;
  if (run.progress.isPastReturn && !(await isGivenUp(run, error)))
    outcome = await finish(run, "incomplete", reason, hintOf(error));
  else {
    // What helps to go on is of no use once it is given up.
    const hint = run.progress.isPastReturn ? undefined : hintOf(error);
    run.journal.mustGoOn();
    await turn(run, "discard", reason);
    outcome = await takeBack(run, reason, hint);
  }
  // Everything is in order by now, and it is a bug all the same.
  if (!isFailure(error) && !isInterruption(error) && error !== signal.reason) throw error;
  return outcome;
}

/** Under active abuse no key at all may be better than the leaked one. */
async function revokeWithoutNew(run: Run, reason: string, signal: AbortSignal): Promise<void> {
  if ((await run.ask({ type: "revoke-without-new", reason }, signal)) !== "go-on") return;
  const upTo = STEPS_REVOKING_FIRST.findIndex(({ name }) => name === "canary");
  for (const step of STEPS_REVOKING_FIRST.slice(0, upTo)) {
    if (step.name === "revoke" || step.name === "verify") await take(run, step, signal);
  }
}

/** A promotion that was begun and is not known to be done: whether nothing came of it. */
async function settlePromotions(run: Run, error: unknown): Promise<void> {
  const { progress } = run;
  await withTimeForTheWayBack(run, async (signal) => {
    for (const target of run.targets) {
      const isInDoubt = progress.mayBePromoted(target.ref) && !progress.isDone("promote", target.ref);
      if (!isInDoubt || !(await isNotPromoted(run, target, error, signal))) continue;
      const facts = { isDone: false, reason: "it was not promoted" } as const;
      await run.write({ kind: "fact", step: "promote", target: target.ref, facts });
    }
  });
}

/** A backend that has refused to replace a key has changed nothing; unless it was asked before as well. */
async function settleRefusal(run: Run, error: unknown, reason: string): Promise<void> {
  if (!(error instanceof ProviderError) || error.failure === "unavailable") return;
  const { progress } = run;
  const refused = run.targets.find(
    ({ ref }) => progress.isBegun("rotate", ref) && !progress.isDone("rotate", ref),
  );
  if (!refused || triesOf(run, refused.ref) > 1) return;
  const facts = { isDone: false, reason } as const;
  await run.write({ kind: "fact", step: "rotate", target: refused.ref, facts });
}

/** Old keys are revoked already, and nobody needs our new ones. */
async function isGivenUp(run: Run, error: unknown): Promise<boolean> {
  if (!isRefused(error)) return false;
  let isIt = false;
  await withTimeForTheWayBack(run, async (signal) => {
    isIt = await isOutOfUse(run, signal);
  });
  if (isIt)
    run.note(
      "old keys are revoked already, and servers get what somebody else has put there at their next look",
    );
  return isIt;
}

/** Nobody has the new key yet: the candidates go, and what was minted is ended. */
async function takeBack(run: Run, reason: string, hint?: string): Promise<Outcome> {
  run.journal.mustGoOn();
  await withTimeForTheWayBack(run, async (signal) => {
    for (const step of STEPS_OF_DISCARDING) await take(run, step, signal);
  });
  return finish(run, "discarded", reason, hint);
}

async function goBack(run: Run, signal: AbortSignal): Promise<Outcome> {
  try {
    for (const step of STEPS_OF_ROLLBACK) await take(run, step, signal);
  } catch (error) {
    const outcome = await finish(run, "incomplete", run.whyFailed(error), hintOf(error));
    if (!isFailure(error) && !isInterruption(error) && error !== signal.reason) throw error;
    return outcome;
  }
  return finish(run, "rolled-back", reasonOfTurn(run));
}

/** With a signal of its own: what was interrupted is cleared away all the same. */
async function withTimeForTheWayBack(run: Run, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const { clock } = run.deps;
  const over = new AbortController();
  const timer = clock.after(WAY_BACK_MS, () =>
    over.abort(new ProviderError("unavailable", `it was not done within ${WAY_BACK_MS / 1000} s`)),
  );
  try {
    await work(over.signal);
  } catch (error) {
    // What is not done by then is seen in the journal.
    if (!over.signal.aborted) throw error;
  } finally {
    timer.cancel();
  }
}

/** @param wanted what it is if nothing is left to do */
async function finish(
  run: Run,
  wanted: OutcomeWord,
  reason: string | undefined,
  hint?: string,
): Promise<Outcome> {
  run.journal.mustGoOn();
  const is = stepsOf(run).some((step) => isLeft(run, step)) ? "incomplete" : wanted;
  const reasons = new Set([...(reason === undefined ? [] : [reason]), ...reasonsLeft(run)]);
  const state = () => (reasons.size > 0 ? { reason: [...reasons].join("; ") } : {});
  await run.write({ kind: "end", outcome: is, ...state() });
  if (!run.journal.isWhole) reasons.add("the journal could not be written");
  const isCut = !run.journal.isWhole && is !== "discarded";
  const toTry = hint ?? (is === "incomplete" ? run.hint : undefined);
  const outcome = outcomeOf(run, {
    is: isCut ? "incomplete" : is,
    ...state(),
    ...(toTry !== undefined && { hint: toTry }),
  });
  run.deps.emit({ type: "ended", outcome });
  return outcome;
}

function stepsOf({ progress, plan }: Run): readonly Step[] {
  if (progress.direction === "discard") return STEPS_OF_DISCARDING;
  if (progress.direction === "rollback") return STEPS_OF_ROLLBACK;
  return plan.options.revokeFirst ? STEPS_REVOKING_FIRST : STEPS;
}

function isLeft(run: Run, step: Step): boolean {
  if ("forAll" in step) return step.isNeeded?.(run) !== false && !run.progress.isDone(step.name);
  return run.targets.some(
    (target) => step.isNeeded?.(run, target) !== false && !run.progress.isDone(step.name, target.ref),
  );
}

/** Why steps that were let pass are not done. */
function reasonsLeft(run: Run): readonly string[] {
  const tolerant = stepsOf(run).filter(({ name }) => TOLERANT.has(name));
  return tolerant.flatMap(({ name }) =>
    run.targets.flatMap(({ ref }) => {
      const facts = run.progress.factsOf(name, ref);
      return facts?.isDone === false ? [facts.reason ?? `${name} is not done for ${ref}`] : [];
    }),
  );
}

async function turn(
  run: Run,
  to: "discard" | "rollback" | "rebase" | "set-aside",
  reason: string,
  target?: string,
): Promise<void> {
  await run.write({ kind: "turn", to, reason, ...(target !== undefined && { target }) });
  run.deps.emit({ type: "turned", to, reason, ...(target !== undefined && { target }) });
}

function reasonOfTurn({ journal }: Run): string {
  const last = journal.lines.findLast(
    (line) => line.kind === "turn" && (line.to === "discard" || line.to === "rollback"),
  );
  return (last?.kind === "turn" && last.reason) || "it was given up";
}

function isFailure(error: unknown): error is McpRunError {
  return error instanceof McpRunError;
}

function hintOf(error: unknown): string | undefined {
  return isFailure(error) ? error.hint : undefined;
}

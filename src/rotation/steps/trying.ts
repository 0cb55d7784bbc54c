/** The step that tries the new values in a server before anybody gets them. */
import type { Secret } from "../../secrets/secret.ts";
import type { Candidates } from "../contract.ts";
import type { Facts } from "../journal/journal-line.ts";
import { hasStep } from "../modes.ts";
import type { OverallStep, Run } from "../run.ts";
import { partValue } from "../target.ts";

/** Tries what the stores hold, not what was meant to be put there. */
export const canaryStep: OverallStep = {
  name: "canary",
  isNeeded: ({ targets, progress }) =>
    targets.some(
      (target) =>
        hasStep(target, "canary") &&
        !progress.isSetAside(target.ref) &&
        !progress.isDone("promote", target.ref),
    ),
  async forAll(run, signal): Promise<Facts> {
    const candidates = await candidatesLeft(run, signal);
    const outcome = await run.deps.canary.try(candidates.values, signal, candidates);
    const { works, wasProbed, skipped, notes = [], ranBy, reason, details = [] } = outcome;
    for (const note of notes) run.note(note);
    if (skipped !== undefined) {
      run.note(`there was no canary, and the new key itself was not exercised: ${skipped}`);
      return { wasProbed: false, skipped };
    }
    const state = works
      ? reason
      : `a server with the new key does not work: ${reason ?? "it does not say why"}`;
    return {
      ...(!works && { isDone: false }),
      wasProbed,
      ...(ranBy !== undefined && { ranBy }),
      ...(state !== undefined && { reason: state }),
      ...(!works && details.length > 0 && { details: [...details] }),
    };
  },
};

/** What lies beside the secrets and is to be promoted. */
export async function candidatesLeft(run: Run, signal: AbortSignal): Promise<Candidates> {
  const values = new Map<string, Secret>();
  const refs: string[] = [];
  for (const { store, parts, ref, own } of run.targets) {
    // A lease of its own is fetched by the server that is tried.
    if (own || run.progress.isDone("promote", ref) || run.progress.isSetAside(ref)) continue;
    const fetching = (limited: AbortSignal) => store.fetchCandidate(run.plan.rotation, limited);
    const { value: document } = await run.fromStore(signal, fetching);
    for (const part of parts) {
      const value = partValue(part, document);
      if (!value) continue;
      values.set(part.name, value);
      refs.push(part.from);
    }
  }
  return { rotation: run.plan.rotation, values, refs };
}

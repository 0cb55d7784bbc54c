/**
 * The negative probe: after its revocation the old key is put into a server of its own, whose probe has to fail. That
 * alone would show little, since a probe can fail for many reasons: right after it, the same server with the new key
 * has to pass. Whatever was not shown is said.
 */
import { McpRunError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { CanaryOutcome, Target, TargetPart } from "../contract.ts";
import { type Run, reasonOf } from "../run.ts";
import { candidatesLeft } from "../steps/trying.ts";
import { partValue } from "../target.ts";

export type OldKeyTrial =
  | { readonly result: "refused" | "accepted"; readonly reason: string }
  /** Nothing was shown; a note says why. Or nobody wanted it. */
  | { readonly result: "unknown" };

const UNKNOWN: OldKeyTrial = { result: "unknown" };

/** Rejects only as the signal says, and for bugs. */
export async function tryOldKey(run: Run, part: TargetPart, signal: AbortSignal): Promise<OldKeyTrial> {
  if (!run.deps.triesOld?.(part.name)) return UNKNOWN;
  const untold = (why: string) => {
    run.note(`the old ${part.name} was not tried in a server: ${why}`);
    return UNKNOWN;
  };
  try {
    const old = await oldValues(run, part.name, signal);
    if (!old) return untold("no store has it any more");
    const { values } = await candidatesLeft(run, signal);
    const { canary } = run.deps;
    const outcome = await canary.try(new Map([...values, ...old]), signal);
    if (outcome.skipped !== undefined) return untold(outcome.skipped);
    if (!outcome.wasProbed) return untold(whyUnprobed(outcome));
    if (outcome.works) return { result: "accepted", reason: "a server with it passes the probe" };
    const control = await canary.try(values, signal);
    if (control.works && control.wasProbed)
      return {
        result: "refused",
        reason: "a server with it fails the probe, and passes it with the new one",
      };
    run.note(
      `the probe fails with the new ${part.name} as well, so it does not show that the old one is refused: ${control.reason ?? "it does not say why"}`,
    );
    return UNKNOWN;
  } catch (error) {
    if (!(error instanceof McpRunError) || error.code === "interrupted" || signal.aborted) throw error;
    return untold(reasonOf(error));
  }
}

function whyUnprobed({ works, reason }: CanaryOutcome): string {
  if (works) return "the profile has no probe";
  return `it does not start with it, so that its probe was not asked (${reason ?? "it does not say why"})`;
}

/** The key and what came with it, by name; undefined if some of it is not to be had. */
async function oldValues(
  run: Run,
  name: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Secret> | undefined> {
  const values = new Map<string, Secret>();
  for (const target of run.targets) {
    const parts = target.parts.filter((part) => part.name === name || part.comesWith === name);
    if (parts.length === 0) continue;
    const document = await oldDocument(run, target, signal);
    for (const part of parts) {
      const stored = partValue(part, document);
      const value = run.isPlanned(part, stored) ? stored : run.oldValues.get(part.name);
      if (!value) return undefined;
      values.set(part.name, value);
    }
  }
  return values;
}

async function oldDocument(
  run: Run,
  { own, ref, store }: Target,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  const base = run.progress.basesOf(ref).at(-1);
  if (own || base === undefined) return undefined;
  return (await run.fromStore(signal, (limited) => store.readVersion(base, limited)))?.value;
}

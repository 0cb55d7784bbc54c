/**
 * What a backend does by itself: it replaces a live key in its place, or it ends the leases that were there when the
 * plan was made, each by its id and never by a prefix, which would take the new ones along.
 */
import { McpRunError, ProviderError } from "../../errors.ts";
import type { LeasedKeys, LiveRotation } from "../../secrets/provider.ts";
import type { LeaseHolder, Target, TargetPart, Wanted } from "../contract.ts";
import type { Facts, PlannedTarget } from "../journal/journal-line.ts";
import { hasStep, isLive } from "../modes.ts";
import { type Run, reasonOf, type TargetStep } from "../run.ts";
import { partValue } from "../target.ts";

/** So many ids stand in a reason; all of them stand in the plan. */
const MOST_NAMED = 10;

/** From here on whoever asks gets the new key, and the old one may be refused. */
export const rotateLive: TargetStep = {
  name: "rotate",
  isNeeded: (_run, target) => hasStep(target, "rotate"),
  async forTarget(run, target, signal) {
    const { own, ref, parts } = target;
    const { version: planned } = plannedTarget(run, ref);
    if (!own || !isLive(own) || planned === undefined) throw new Error(`${ref} has no live rotation`);
    // After a crash a version that is not the planned one is what has come of the first try.
    const isOver =
      triesOf(run, ref) > 1 &&
      (await run.fromStore(signal, (limited) => own.read(limited))).version !== planned;
    if (!isOver) await own.rotate(run.plan.rotation, planned, signal);
    const { found, version } = await whatIsThere(run, own, parts, signal);
    const isNew = found.some(({ part, value }) => value && !run.isPlanned(part, value));
    if (!isNew) {
      throw new McpRunError(
        "rotation-incomplete",
        `the backend of ${ref} says that it is replaced, and gives the old value`,
      );
    }
    return {
      ...(version !== undefined && { version }),
      parts: found.map(({ part, value }) => ({ name: part.name, ...(value && run.prints(part, value)) })),
    };
  },
};

/** It is replaced by then: no failure may say that nothing was changed. */
async function whatIsThere(run: Run, own: LiveRotation, parts: readonly TargetPart[], signal: AbortSignal) {
  try {
    const { value: document, version } = await run.fromStore(signal, (limited) => own.read(limited));
    return { version, found: parts.map((part) => ({ part, value: partValue(part, document) })) };
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    throw new ProviderError("unavailable", `it is replaced, and can't be read: ${error.reason}`, {
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
}

/** How often it was begun since it was last known that nothing had come of it. */
export function triesOf(
  { journal }: Run,
  ref: string,
  step: "rotate" | "promote" | "revoke" = "rotate",
): number {
  const lines = journal.lines.filter(
    (line) => (line.kind === "intent" || line.kind === "fact") && line.step === step && line.target === ref,
  );
  return lines.length - (lines.findLastIndex(({ kind }) => kind === "fact") + 1);
}

export function plannedTarget({ plan }: Run, ref: string): PlannedTarget {
  const planned = plan.targets.find((target) => target.ref === ref);
  if (!planned) throw new Error(`${ref} is no target of this rotation`);
  return planned;
}

/** What servers have to have instead of a lease that will be revoked. */
export function wantedLeases({ plan }: Run): readonly Wanted[] {
  return plan.targets.flatMap(({ place, leases, parts }) =>
    leases === undefined ? [] : parts.map(({ from }) => ({ from, place, oldLeases: leases })),
  );
}

/** Those of the plan that are alive and not in the hands of a server; for the others a person is asked. */
export async function revokeLeases(run: Run, target: Target, signal: AbortSignal): Promise<Facts> {
  const own = leasedKeys(target);
  const left = await leasesLeft(run, target, own, signal);
  const kept = await leasesToKeep(run, target, left, signal);
  const failed: { readonly id: string; readonly reason: string }[] = [];
  for (const id of left) {
    if (kept.leases.has(id)) continue;
    try {
      await own.revoke(id, signal);
    } catch (error) {
      if (!(error instanceof McpRunError) || signal.aborted) throw error;
      failed.push({ id, reason: reasonOf(error) + (error.hint === undefined ? "" : `; try ${error.hint}`) });
    }
  }
  const reasons = [
    ...(kept.leases.size > 0 ? [`${listed([...kept.leases])} kept for ${kept.holders.join(", ")}`] : []),
    ...(failed[0] ? [`${listed(failed.map(({ id }) => id))} not revoked: ${failed[0].reason}`] : []),
  ];
  return leaseFacts(target, reasons, failed.length > 0 ? "failed" : "unknown", "revoked");
}

/** Whether they are gone, as the backend says. */
export async function verifyLeases(run: Run, target: Target, signal: AbortSignal): Promise<Facts> {
  const left = await leasesLeft(run, target, leasedKeys(target), signal);
  return leaseFacts(target, left.length > 0 ? [`${listed(left)} alive still`] : [], "accepted", "refused");
}

type Result = "revoked" | "refused" | "unknown" | "failed" | "accepted";

/** A lease belongs to all that lies in its document. */
function leaseFacts({ ref, parts }: Target, reasons: readonly string[], bad: Result, good: Result): Facts {
  const result = reasons.length > 0 ? bad : good;
  const all = parts.map(({ name }) => ({ name, result }));
  return reasons.length > 0
    ? { isDone: false, parts: all, reason: `${ref}: ${reasons.join("; ")}` }
    : { parts: all };
}

async function leasesLeft(
  run: Run,
  { ref }: Target,
  own: LeasedKeys,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const alive = new Set(await run.fromStore(signal, (limited) => own.list(limited)));
  return (plannedTarget(run, ref).leases ?? []).filter((id) => alive.has(id));
}

async function leasesToKeep(run: Run, { ref }: Target, left: readonly string[], signal: AbortSignal) {
  const none = { leases: new Set<string>(), holders: [] };
  // That their servers fail in between is what the operator wants there.
  if (run.plan.options.revokeFirst || left.length === 0) return none;
  const { fleet, missingOk } = run.deps;
  const { place, parts } = plannedTarget(run, ref);
  const wanted = parts.map(({ from }) => ({ from, place, oldLeases: left }));
  const key = Buffer.from(run.plan.key, "base64url");
  const found = (await fleet.leaseHolders?.(wanted, key, signal)) ?? [];
  const isPassedOver = ({ reason }: LeaseHolder) => reason !== undefined && missingOk.includes("*");
  for (const { host, reason } of found.filter(isPassedOver))
    run.note(`nobody could be asked which leases of ${ref} are in use still: ${host}: ${reason}`);
  const holders = found
    .filter((holder) => !isPassedOver(holder))
    .map((holder) => ({ ...holder, leases: holder.leases.filter((id) => left.includes(id)) }))
    .filter(({ leases }) => leases.length > 0);
  if (holders.length === 0) return none;
  const answer = await run.ask({ type: "leases-in-use", target: ref, holders }, signal);
  if (answer === "go-on") return none;
  return { leases: new Set(holders.flatMap(({ leases }) => leases)), holders: holders.map(nameOf) };
}

function nameOf({ profile, host, pid, reason }: LeaseHolder): string {
  return reason === undefined ? `${profile} on ${host} (pid ${pid})` : `whoever has them: ${host}: ${reason}`;
}

function leasedKeys({ own, ref }: Target): LeasedKeys {
  if (own?.mode === "vault-lease") return own;
  throw new Error(`${ref} has no leases`);
}

function listed(ids: readonly string[]): string {
  const more = ids.length - MOST_NAMED;
  const named = ids.slice(0, MOST_NAMED).join(", ");
  return `${ids.length === 1 ? "lease" : "leases"} ${named}${more > 0 ? ` and ${more} more` : ""}`;
}

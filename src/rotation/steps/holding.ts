/**
 * The step that has servers hold requests while their key is ended before they have the new one. It is taken right
 * before the first revocation, or after it where a person makes that, who takes his time. Whoever does not hold is
 * named; the old key is ended either way.
 */
import { McpRunError } from "../../errors.ts";
import type { Holder, SecretInUse, Target } from "../contract.ts";
import type { Facts } from "../journal/journal-line.ts";
import { hasStep } from "../modes.ts";
import { type OverallStep, type Run, reasonOf } from "../run.ts";
import { endingParts } from "./ending.ts";

const NAMED_IN_NOTES = 10;

export const holdBefore: OverallStep = {
  name: "hold",
  isRepeated: true,
  isNeeded: (run) => heldFor(run).some((target) => isEndedByProgram(run, target)),
  forAll: hold,
};

export const holdAfter: OverallStep = {
  name: "hold",
  isRepeated: true,
  isNeeded: (run) => heldFor(run).some(({ ref }) => run.progress.isDone("revoke", ref)),
  forAll: hold,
};

/** Whose old key ends before the new one is promoted, which lies beside it: nobody is believed by anything else. */
function heldFor(run: Run): readonly Target[] {
  const { progress, deps, targets } = run;
  if (run.hasAskedToHold || !deps.holdRequests) return [];
  return targets.filter(
    (target) =>
      hasStep(target, "promote") &&
      progress.isDone("candidate", target.ref) &&
      !progress.isDone("promote", target.ref) &&
      !progress.isSetAside(target.ref) &&
      !hasStep(target, "reencrypt") &&
      endingParts(run, target).length > 0,
  );
}

function isEndedByProgram(run: Run, target: Target): boolean {
  return endingParts(run, target).some(({ issuer }) => issuer.kind === "hook");
}

async function hold(run: Run, signal: AbortSignal): Promise<Facts> {
  const { plan, deps } = run;
  const refs = heldFor(run).map(({ ref }) => ref);
  run.hasAskedToHold = true;
  const secrets = plan.targets
    .filter(({ ref }) => refs.includes(ref))
    .flatMap(({ place, parts }) =>
      parts.map(
        ({ from, fingerprint }): SecretInUse => ({
          from,
          ...(place !== undefined && { place }),
          fingerprint,
        }),
      ),
    );
  try {
    const holders = (await deps.holdRequests?.(secrets, Buffer.from(plan.key, "base64url"), signal)) ?? [];
    noteOthers(run, holders);
    return { reason: countText(holders) };
  } catch (error) {
    if (!(error instanceof McpRunError) || signal.aborted) throw error;
    return { reason: `no server could be asked: ${reasonOf(error)}` };
  }
}

function countText(holders: readonly Holder[]): string {
  const heard = holders.filter((one) => one.pid > 0 && !one.isSilent);
  const all = heard.length;
  const count = heard.filter(({ holds }) => holds).length;
  const silent = holders.filter(({ isSilent }) => isSilent).length;
  return [
    all === 0
      ? "no server that has it is heard"
      : `${count} of ${all} server${all === 1 ? "" : "s"} ${count === 1 ? "holds its" : "hold their"} requests`,
    ...(silent > 0 ? [`nothing is heard of ${silent} more`] : []),
  ].join(", ");
}

function noteOthers(run: Run, holders: readonly Holder[]): void {
  const isOnOne = new Set(holders.map(({ host }) => host)).size === 1;
  const others = holders.filter(({ holds, isSilent }) => !holds && !isSilent);
  for (const one of others.slice(0, NAMED_IN_NOTES)) run.note(noteOn(one, isOnOne));
  const more = others.length - NAMED_IN_NOTES;
  if (more > 0) run.note(`${more} more do not hold their requests`);
}

function noteOn({ host, pid, profile, reason = "it does not say why" }: Holder, isOnOne: boolean): string {
  if (pid === 0) return `${host}: nobody is asked to hold requests, and some may fail: ${reason}`;
  const where = isOnOne ? "" : ` on ${host}`;
  const who = profile === "?" ? `the mcp-run with pid ${pid}${where}` : `${profile}${where} (pid ${pid})`;
  return `${who} does not hold its requests, which may fail until it has the new value: ${reason}`;
}

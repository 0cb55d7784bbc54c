/** What the journal of a rotation and its outcome say of the incident. */

import type { CanaryOutcome } from "../contract.ts";
import type { Outcome } from "../happening.ts";
import type { Facts, JournalLine, PlannedPart, PlannedTarget } from "../journal/journal-line.ts";
import { Progress } from "../journal/progress.ts";
import type { StoredAt } from "./access-log.ts";
import type { Incident, IncidentSecret, Moment } from "./incident.ts";

/**
 * @param lines all of the journal, its plan first
 * @param version of mcp-run
 * @param storedAt where a target's document is kept
 */
export function incidentOf(
  lines: readonly JournalLine[],
  outcome: Outcome,
  version: string,
  storedAt: (target: string) => StoredAt | undefined,
): Incident {
  const [plan] = lines;
  if (plan?.kind !== "plan") throw new Error("a journal begins with its plan");
  const progress = new Progress(plan, lines);
  const last = lines.at(-1);
  const canary = progress.factsOf("canary");
  return {
    rotation: plan.rotation,
    profile: plan.profile,
    reason: plan.reason,
    operator: plan.operator,
    version,
    startedAt: plan.at,
    ...(last?.kind === "end" && { endedAt: last.at }),
    outcome: outcome.is,
    ...(outcome.reason !== undefined && { outcomeReason: outcome.reason }),
    secrets: plan.targets.flatMap((target) =>
      target.parts.map((part) => secretOf(target, part, progress, storedAt(target.ref))),
    ),
    timeline: lines.flatMap((line, index) => momentsOf(line, lines.slice(index + 1))),
    ...(canary && { canary: canaryOutcome(canary) }),
    acknowledgements: outcome.acknowledgements,
    isTold: (progress.factsOf("spread") ?? progress.factsOf("spread-back")) !== undefined,
    strays: outcome.stillValid
      .filter(({ which }) => which === "new")
      .map(({ secret, keyId }) => ({ name: secret, ...(keyId !== undefined && { keyId }) })),
    notes: outcome.notes,
    next: outcome.next,
  };
}

function secretOf(
  { ref, version, place, leases = [] }: PlannedTarget,
  part: PlannedPart,
  progress: Progress,
  storedAt: StoredAt | undefined,
): IncidentSecret {
  // What comes with another key is ended with that one.
  const issued = part.comesWith ?? part.name;
  const minted = progress.mintedFor(part.name).at(-1);
  return {
    name: part.name,
    ref: part.from,
    ...(storedAt && { storedAt }),
    ...(place !== undefined && { place }),
    issuer: part.issuer,
    before: { version, fingerprint: part.fingerprint, keyId: part.keyId },
    after: progress.isSetAside(ref)
      ? {}
      : {
          version: (progress.factsOf("promote", ref) ?? progress.factsOf("rotate", ref))?.version,
          fingerprint: minted?.fingerprint,
          keyId: minted?.keyId,
        },
    revoked:
      part.fingerprint === undefined && leases.length === 0 ? "not-needed" : revokedOf(progress, issued, ref),
    verified: verifiedOf(progress, issued),
    isRetired: progress.isDone("retire", ref),
  };
}

function canaryOutcome({ isDone, wasProbed = false, skipped, ranBy, reason, details }: Facts): CanaryOutcome {
  return {
    works: isDone !== false,
    wasProbed,
    ...(skipped !== undefined && { skipped }),
    ...(ranBy !== undefined && { ranBy }),
    ...(reason !== undefined && { reason }),
    ...(details && { details }),
  };
}

function revokedOf(progress: Progress, name: string, ref: string): IncidentSecret["revoked"] {
  if (progress.isEndedByBackend(ref)) return "revoked";
  const result = progress.resultOf("revoke", name);
  return result === "revoked" || result === "by-hand" || result === "unknown" || result === "failed"
    ? result
    : "not-yet";
}

function verifiedOf(progress: Progress, name: string): IncidentSecret["verified"] {
  const result = progress.resultOf("verify", name);
  return result === "refused" || result === "accepted" || result === "unknown" ? result : "not-yet";
}

function momentsOf(line: JournalLine, later: readonly JournalLine[]): readonly Moment[] {
  const { at } = line;
  switch (line.kind) {
    case "plan":
      return [{ at, what: `plan ${line.targets.map(({ ref }) => ref).join(", ")}` }];
    case "intent":
      // A step is told when it is over; one that was begun and cut off must not be missing.
      return isCutOff(line, later) ? [{ at, what: stepOf(line), result: "begun, and cut off" }] : [];
    case "fact":
      return [{ at, what: stepOf(line), result: resultOf(line.facts) }];
    case "turn":
      return [
        {
          at,
          what: `turn to ${stepOf({ ...line, step: line.to })}`,
          ...(line.reason !== undefined && { result: line.reason }),
        },
      ];
    case "end":
      return [
        { at, what: `end: ${line.outcome}`, ...(line.reason !== undefined && { result: line.reason }) },
      ];
  }
}

function isCutOff({ step, target }: OfStep, later: readonly JournalLine[]): boolean {
  const next = later.find(
    (line) =>
      (line.kind === "fact" || line.kind === "intent") && line.step === step && line.target === target,
  );
  return next?.kind !== "fact";
}

interface OfStep {
  readonly step: string;
  readonly target?: string | undefined;
}

function stepOf({ step, target }: OfStep): string {
  return target === undefined ? step : `${step} ${target}`;
}

function resultOf(facts: Facts): string {
  const { isDone, version, parts = [], acknowledgements, wasProbed, skipped, ranBy, reason } = facts;
  const said = [
    ...(isDone === false ? ["not done"] : []),
    ...(version === undefined ? [] : [`version ${version}`]),
    ...parts.flatMap(({ name, result, keyId, reason: why }) => {
      const words = [result, keyId && `key ${keyId}`, why].filter((word) => word !== undefined);
      return words.length > 0 ? [`${name}: ${words.join(", ")}`] : [];
    }),
    ...(acknowledgements ? [countOf(acknowledgements)] : []),
    ...(ranBy === undefined ? [] : [`tried by ${ranBy}`]),
    ...(skipped === undefined ? [] : [`none: ${skipped}`]),
    ...(wasProbed === undefined || isDone === false || skipped !== undefined
      ? []
      : [wasProbed ? "proven by the probe" : "not exercised: no probe"]),
    ...(reason === undefined ? [] : [reason]),
  ];
  return said.length > 0 ? said.join("; ") : "done";
}

function countOf(acknowledgements: NonNullable<Facts["acknowledgements"]>): string {
  const have = acknowledgements.filter(({ state }) => state === "acknowledged").length;
  return `${have} of ${acknowledgements.length} have it`;
}

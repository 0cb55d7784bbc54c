/** How a rotation ended, what is still valid, and what is left to do, in words. */

import type { Target } from "./contract.ts";
import type { Outcome, StillValid } from "./happening.ts";
import { commandOf, type OutcomeWord } from "./journal/journal-line.ts";
import { hasStep } from "./modes.ts";
import { noWayBack } from "./no-way-back.ts";
import type { Run } from "./run.ts";
import { endingParts } from "./steps/ending.ts";
import type { StepName } from "./steps/step-names.ts";

export interface Ending {
  readonly is: OutcomeWord;
  readonly reason?: string;
  readonly hint?: string;
}

export function outcomeOf(run: Run, { is, reason, hint }: Ending): Outcome {
  const { progress } = run;
  const told = progress.direction === "rollback" ? "spread-back" : "spread";
  return {
    is,
    rotation: run.plan.rotation,
    ...(reason !== undefined && { reason }),
    ...(hint !== undefined && { hint }),
    stillValid: [...oldKeys(run, is), ...newKeys(run)],
    acknowledgements: (progress.factsOf(told)?.acknowledgements ?? []).map(({ reason: why, ...member }) => ({
      ...member,
      ...(why !== undefined && { reason: why }),
    })),
    notes: [...progress.setAsideFor, ...run.notes],
    next: is === "incomplete" ? nextWords(run) : [],
  };
}

function oldKeys(run: Run, is: OutcomeWord): readonly StillValid[] {
  const { direction } = run.progress;
  // There the old key is the one that serves; unless somebody else has replaced it, whose key is left as it is.
  if (is === "discarded" || direction === "discard") return [];
  const isLeft = ({ ref }: Target) =>
    run.progress.isSetAside(ref) || run.progress.factsOf("restore", ref)?.reason !== undefined;
  return run.targets
    .filter((target) => direction === "forward" || isLeft(target))
    .flatMap((target) =>
      endingParts(run, target)
        .filter(({ name }) => {
          const result = run.progress.resultOf("revoke", name);
          const isRevoked =
            result === "revoked" || result === "by-hand" || run.progress.isEndedByBackend(target.ref);
          return !isRevoked || run.progress.resultOf("verify", name) === "accepted";
        })
        .map(({ name }) => {
          const { keyId } = run.planned(name);
          return {
            which: "old" as const,
            secret: name,
            target: target.ref,
            ...(keyId !== undefined && { keyId }),
          };
        }),
    );
}

function newKeys(run: Run): readonly StillValid[] {
  const { direction } = run.progress;
  const given = run.targets.filter(({ ref }) => direction !== "forward" || run.progress.isSetAside(ref));
  return given.flatMap(({ ref, parts }) =>
    parts
      .filter(({ name, comesWith }) => {
        const isMinted = run.progress.mintedFor(name).length > 0;
        const result = run.progress.resultOf("revoke-new", name);
        return comesWith === undefined && isMinted && result !== "revoked" && result !== "none";
      })
      .map(({ name }) => {
        const keyId = run.progress.mintedFor(name).at(-1)?.keyId;
        return { which: "new" as const, secret: name, target: ref, ...(keyId !== undefined && { keyId }) };
      }),
  );
}

const WHAT: Readonly<Record<StepName, string>> = {
  lock: "take the lock",
  mint: "mint what is missing",
  candidate: "put the new value beside the old one",
  hold: "have servers hold requests",
  canary: "try it in a server of its own",
  rotate: "have the backend replace it",
  promote: "make it the current one",
  spread: "tell every supervisor and wait for them",
  reencrypt: "encrypt anew what the old key has encrypted",
  revoke: "revoke the old key",
  verify: "see that it is refused",
  retire: "retire it in the store",
  discard: "take the candidate away",
  restore: "make the old value the current one again",
  "spread-back": "tell every supervisor and wait for them",
  "revoke-new": "revoke the new key",
};

const AWAY = ["revoke-new", "discard"] as const;
const ON = [
  "mint",
  "candidate",
  "canary",
  "rotate",
  "promote",
  "spread",
  ...AWAY,
  "reencrypt",
  "revoke",
  "verify",
  "retire",
] as const;
const BACK = ["restore", "spread-back", "revoke-new", "discard"] as const;
/** What is set aside has no such step. */
const OF_OURS: ReadonlySet<StepName> = new Set(["mint", "candidate", "canary", "promote"]);
const OVER_ALL: ReadonlySet<StepName> = new Set(["canary", "spread", "spread-back"]);

function nextWords(run: Run): readonly string[] {
  const { progress, plan } = run;
  const ways = { forward: ON, discard: AWAY, rollback: BACK } as const;
  const { direction } = progress;
  const wordsOf = (step: StepName) =>
    step === "revoke-new" && direction === "forward" ? `${WHAT[step]} that is given up` : WHAT[step];
  const left = ways[direction].filter((step) => isLeft(run, step)).map(wordsOf);
  const resume = [
    `# to ${left.length === 0 ? "write down that it is done" : inWords(left)}:`,
    commandOf(plan, "--resume"),
  ];
  if (direction !== "forward") return resume;
  const noWay = noWayBack(run);
  const rollback = noWay
    ? [`# --rollback is no way any more: ${noWay}`]
    : [`# to ${inWords(BACK.slice(0, 3).map((step) => WHAT[step]))}:`, commandOf(plan, "--rollback")];
  return [...resume, ...rollback];
}

function isLeft(run: Run, step: StepName): boolean {
  const { progress } = run;
  const isEnding = step === "revoke" || step === "verify" || step === "retire";
  const isAway = step === "revoke-new" || step === "discard";
  const isMeant = ({ ref }: Target) =>
    progress.isSetAside(ref) ? !OF_OURS.has(step) : !isAway || progress.direction !== "forward";
  const targets = run.targets
    .filter((target) => hasStep(target, step) && isMeant(target))
    .filter((target) => !isEnding || endingParts(run, target).length > 0);
  if (OVER_ALL.has(step)) return targets.length > 0 && !progress.isDone(step);
  if (step === "mint")
    return targets.some(({ ref }) => !progress.isDone("candidate", ref) && !progress.isDone(step, ref));
  return targets.some(({ ref }) => !progress.isDone(step, ref));
}

function inWords(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

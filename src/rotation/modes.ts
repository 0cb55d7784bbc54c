/**
 * How keys of different kinds can be replaced, as docs/rotate.md has it: what is tried beforehand, whether old and new
 * are good at the same time, what can be put back, and who ends the old one. A backend says which mode one of its keys
 * is in; nobody has to guess.
 */
import type { LiveRotation, OwnRotation } from "../secrets/provider.ts";
import type { Target } from "./contract.ts";
import type { StepName } from "./steps/step-names.ts";

export type ModeName = "value" | OwnRotation["mode"];

export interface Mode {
  /** For people. */
  readonly what: string;
  /** A server is tried with the new key before anybody gets it. */
  readonly canary: boolean;
  /** Until it is revoked the old key is as good as the new one. Without it whoever rotates has to consent. */
  readonly overlap: boolean;
  /** The old key can be put back, as long as it is not revoked. */
  readonly rollback: boolean;
  /**
   * Who ends the old key: `issuer`, or whoever is its issuer; `at-once`, the backend in the moment in which it makes
   * the new one; `by-hand`, since only a person can know; `each-lease`, every lease that was there before.
   */
  readonly revokes: "issuer" | "at-once" | "by-hand" | "each-lease";
}

export const MODES: Readonly<Record<ModeName, Mode>> = {
  value: { what: "a value in a store", canary: true, overlap: true, rollback: true, revokes: "issuer" },
  "aws-rotation": {
    what: "rotation of AWS Secrets Manager",
    canary: false,
    overlap: false,
    rollback: false,
    revokes: "by-hand",
  },
  "vault-static-role": {
    what: "static role of Vault",
    canary: false,
    overlap: false,
    rollback: false,
    revokes: "at-once",
  },
  "vault-lease": {
    what: "leases of Vault",
    canary: true,
    overlap: true,
    rollback: false,
    revokes: "each-lease",
  },
};

export function modeNameOf({ own }: Target): ModeName {
  return own?.mode ?? "value";
}

export function modeOf(target: Target): Mode {
  return MODES[target.own?.mode ?? "value"];
}

/** What is done with a candidate, and with nothing that a backend replaces by itself. */
const WITH_A_CANDIDATE: ReadonlySet<StepName> = new Set([
  "lock",
  "mint",
  "candidate",
  "promote",
  "discard",
  "restore",
  "revoke-new",
]);

/** Whether there is such a step for this target at all. */
export function hasStep({ own, parts }: Target, step: StepName): boolean {
  if (step === "reencrypt") return parts.some(({ issuer }) => issuer.reencrypt !== undefined);
  if (step === "canary") return MODES[own?.mode ?? "value"].canary;
  if (step === "rotate") return own !== undefined && isLive(own);
  return own === undefined || !WITH_A_CANDIDATE.has(step);
}

export function isLive(own: OwnRotation): own is LiveRotation {
  return "rotate" in own;
}

/** What a rotation tells while it runs, and what it asks. Names, refs, versions and states. */
import type { Acknowledgement, LeaseHolder } from "./contract.ts";
import type { Facts, OutcomeWord } from "./journal/journal-line.ts";
import type { StepName } from "./steps/step-names.ts";

interface OfStep {
  readonly step: StepName;
  /** The target's ref; absent for a step over all of them. */
  readonly target?: string;
}

export type RotationEvent =
  | { readonly type: "began"; readonly rotation: string; readonly isResumed: boolean }
  | (OfStep & { readonly type: "step-began" })
  | (OfStep & { readonly type: "step-done"; readonly facts: Facts; readonly ms: number })
  | (OfStep & {
      readonly type: "step-failed";
      readonly reason: string;
      /** Further lines for people: what a server said last. */
      readonly details?: readonly string[];
      readonly ms: number;
    })
  | { readonly type: "acknowledgements"; readonly acknowledgements: readonly Acknowledgement[] }
  /** It goes another way from here. */
  | {
      readonly type: "turned";
      readonly to: "discard" | "rollback" | "rebase" | "set-aside";
      readonly target?: string;
      readonly reason: string;
    }
  | { readonly type: "asked"; readonly question: Question; readonly answer: Answer }
  /** A state worth knowing. */
  | { readonly type: "note"; readonly message: string }
  | { readonly type: "ended"; readonly outcome: Outcome };

export type Question =
  /** These do not have the new value. `again`: wait for them once more; `go-on`: without them. */
  | { readonly type: "not-acknowledged"; readonly members: readonly Acknowledgement[] }
  /** The issuer can't be asked to end the old key. `go-on`: the operator has ended it. */
  | {
      readonly type: "revoked-by-hand";
      readonly secret: string;
      readonly target: string;
      readonly issuer: string;
      readonly keyId?: string;
    }
  /** These have leases that are to be revoked. `go-on`: revoke them all the same. */
  | {
      readonly type: "leases-in-use";
      readonly target: string;
      readonly holders: readonly LeaseHolder[];
    }
  /** There is no new key. `go-on`: end the old one all the same. */
  | { readonly type: "revoke-without-new"; readonly reason: string }
  /** `go-on`: the old key is not leaked, or that matters less than to have it back. */
  | { readonly type: "put-back"; readonly targets: readonly string[] }
  /** Its ref leads to another place than the planned one. `go-on`: both are one store. */
  | {
      readonly type: "elsewhere";
      readonly target: string;
      readonly planned: string;
      readonly place: string;
    };

export type Answer = "go-on" | "again" | "stop";

export interface Outcome {
  /** `incomplete` is exit code 75. */
  readonly is: OutcomeWord;
  readonly rotation: string;
  /** Why it is not done: a state. */
  readonly reason?: string;
  /** Reads well after «Try ». */
  readonly hint?: string;
  /** Keys that their issuer may still take although nobody should have them. */
  readonly stillValid: readonly StillValid[];
  /** What was heard last of everybody who was told. */
  readonly acknowledgements: readonly Acknowledgement[];
  readonly notes: readonly string[];
  /** What can be typed now, and what it would do. */
  readonly next: readonly string[];
}

export interface StillValid {
  readonly which: "old" | "new";
  readonly secret: string;
  readonly target: string;
  readonly keyId?: string;
}

/** What an incident report is made of: names, refs, versions, states and fingerprints. There is no place for a value. */

import type { Acknowledgement, CanaryOutcome } from "../contract.ts";
import type { StoredAt } from "./access-log.ts";

export interface Incident {
  readonly rotation: string;
  readonly profile: string;
  readonly reason: string;
  /** `user@host` */
  readonly operator: string;
  /** Of mcp-run. */
  readonly version: string;
  /** ISO 8601, as all times here. */
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly outcome: "done" | "discarded" | "rolled-back" | "incomplete";
  /** Why it is not done: a state. */
  readonly outcomeReason?: string;
  readonly secrets: readonly IncidentSecret[];
  /** In their order. */
  readonly timeline: readonly Moment[];
  /** Undefined where there was none. */
  readonly canary?: Omit<CanaryOutcome, "notes">;
  readonly acknowledgements: readonly Acknowledgement[];
  /** Whether it came to telling them. */
  readonly isTold: boolean;
  /** New keys that were given up, and that nobody has ended. */
  readonly strays: readonly { readonly name: string; readonly keyId?: string }[];
  /** States worth knowing that came up on the way. */
  readonly notes: readonly string[];
  /** Commands that can be typed now. */
  readonly next: readonly string[];
}

export interface IncidentSecret {
  readonly name: string;
  /** As the profile has it. */
  readonly ref: string;
  readonly storedAt?: StoredAt;
  /** In the backend's own words; see FetchedSecret. */
  readonly place?: string;
  readonly issuer: string;
  readonly before: KeyState;
  readonly after: KeyState;
  /** What has become of the old key. */
  readonly revoked: "revoked" | "by-hand" | "unknown" | "failed" | "not-yet" | "not-needed";
  readonly verified: "refused" | "accepted" | "unknown" | "not-yet";
  readonly isRetired: boolean;
}

/** One value of a secret; all of it is undefined where there was none. */
export interface KeyState {
  readonly version?: string | undefined;
  /** Under the key of this rotation. */
  readonly fingerprint?: string | undefined;
  /** The issuer's own name for it. */
  readonly keyId?: string | undefined;
}

export interface Moment {
  readonly at: string;
  /** `promote vault:mcp/github`, say. */
  readonly what: string;
  /** What came of it. */
  readonly result?: string;
}

/**
 * What is written down, one record for each thing that happened to a secret: names, refs, versions, keyed
 * fingerprints, counts and process ids. Never a value.
 */

export const AUDIT_EVENTS = [
  "launch",
  "swap",
  "not-swapped",
  "signal",
  "restart",
  "hold",
  "let-go",
  "refresh",
  "refresh-failed",
  "call",
  "leak",
  "start-failed",
  "denied",
  "reveal",
  "write",
  "remove",
  "rotation",
  "end",
] as const;
export type AuditEvent = (typeof AUDIT_EVENTS)[number];

export interface AuditedSecret {
  readonly name: string;
  /** The ref as written in the profile, or `template`; absent if the secret is gone. */
  readonly from?: string;
  readonly version?: string;
  /** HMAC of the value with the key of this machine; tells whether two values are the same, and nothing else. */
  readonly fingerprint?: string;
  /** Set if it came from the cache: ms since the backend gave it. */
  readonly cachedMs?: number;
}

interface OfServer {
  readonly generation: number;
  readonly serverPid: number;
}

interface WithSecrets {
  readonly secrets: readonly AuditedSecret[];
}

/** How a tool call ended: `lost` if no answer can be told to be its own, and nobody knows whether it did its work. */
export type CallOutcome = "ok" | "tool-error" | "error" | "cancelled" | "lost";

/** `profile` is absent where a secret is handled without one. */
export type AuditEntry = { readonly profile?: string } & (
  | (OfServer &
      WithSecrets & {
        readonly event: "launch";
        readonly mode: "run" | "exec";
        /** The file name of the command, without its folder and its arguments. */
        readonly program: string;
        readonly ms: number;
      })
  | (OfServer & WithSecrets & { readonly event: "swap"; readonly ms: number })
  | (OfServer & WithSecrets & { readonly event: "not-swapped" })
  | (OfServer & WithSecrets & { readonly event: "signal"; readonly signal: string })
  | (OfServer & { readonly event: "restart" })
  | (OfServer & WithSecrets & { readonly event: "hold"; readonly rotation: string })
  | (OfServer & {
      readonly event: "let-go";
      readonly rotation: string;
      readonly reason: string;
      readonly ms: number;
    })
  | { readonly event: "refresh-failed"; readonly reason: string; readonly retryMs: number }
  | (WithSecrets & { readonly event: "leak"; readonly method?: string; readonly isMasked: boolean })
  | (WithSecrets & { readonly event: "refresh"; readonly generation: number })
  | {
      readonly event: "call";
      readonly tool: string;
      readonly outcome: CallOutcome;
      /** Of JSON-RPC, for `error`. */
      readonly code?: number;
      readonly ms: number;
      readonly generation: number;
      readonly client?: string;
    }
  /** No program runs, although nobody was denied anything; `code` is that of the error family. */
  | { readonly event: "start-failed"; readonly code: string; readonly reason: string }
  | { readonly event: "denied"; readonly reason: string; readonly during: DeniedDuring }
  /** A person has had a value printed, or has stored or removed one. */
  | (WithSecrets & { readonly event: "reveal" | "remove" })
  | (WithSecrets & { readonly event: "write"; readonly how: "set" | "generated" })
  | {
      readonly event: "rotation";
      readonly rotation: string;
      readonly step: string;
      /** `began`, `done`, `failed`, `turned`, or how it ended. */
      readonly state: string;
      /** The document's ref. */
      readonly target?: string;
      /** What is to be replaced; in `plan`. */
      readonly secrets?: readonly AuditedSecret[];
      readonly reason?: string;
    }
  | { readonly event: "end"; readonly exitCode: number }
);

export type DeniedDuring = "start" | "refresh" | "check" | "secrets";

/** A loss of power must not take these with it: they are on the disk before anything else is written. */
const DURABLE: Readonly<Record<AuditEvent, boolean>> = {
  launch: true,
  swap: true,
  "not-swapped": false,
  signal: true,
  restart: false,
  hold: true,
  "let-go": false,
  refresh: false,
  "refresh-failed": false,
  call: false,
  leak: true,
  "start-failed": true,
  denied: true,
  reveal: true,
  write: true,
  remove: true,
  rotation: true,
  end: false,
};

export function isDurable({ event }: AuditEntry): boolean {
  return DURABLE[event];
}

/** Who writes; in every record, so that each stands for itself wherever it is sent. */
export interface AuditWriter {
  readonly host: string;
  readonly user: string;
  /** Of mcp-run. */
  readonly pid: number;
}

/** The last record of another file. */
export interface ChainEnd {
  readonly file: string;
  readonly hash: string;
}

/** A record as it was read: of a file that anybody may have changed, so only its outline is certain. */
export interface AuditRecord {
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

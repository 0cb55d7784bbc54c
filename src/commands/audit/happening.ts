/** What the audit is told of one program while it is there; it makes records of it later. */
import type { McpRunError } from "../../errors.ts";
import type { McpRunEvent } from "../../events.ts";
import type { EndedCall } from "../../relay/calls.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";

const EVENTS = [
  "started",
  "swapped",
  "signalled",
  "not-swapped",
  "restarted",
  "holding",
  "let-go",
  "looked",
  "refresh-failed",
  "leak",
] as const;
export type AuditedEvent = Extract<McpRunEvent, { type: (typeof EVENTS)[number] }>;

export interface Happening {
  /** Wall-clock ms. */
  readonly at: number;
  readonly what:
    | AuditedEvent
    | { readonly type: "denied"; readonly error: McpRunError }
    | { readonly type: "start-failed"; readonly error: unknown }
    | { readonly type: "called"; readonly call: EndedCall; readonly client?: string }
    | { readonly type: "ended"; readonly exitCode: number };
  /** The profile's name, or what was typed in its place. */
  readonly profile: string;
  /** The file name of the program. */
  readonly command: string;
  /** What the program has, from which fingerprints are made. */
  readonly secrets: readonly ResolvedSecret[];
}

/** Most of what is said is for people only. */
export function isAudited(event: McpRunEvent): event is AuditedEvent {
  return (EVENTS as readonly string[]).includes(event.type);
}

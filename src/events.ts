/**
 * What the rooms have to say. They emit events; only `ui/` turns them into lines. An event holds names,
 * refs, versions and durations, never a value.
 */
import type { ErrorCode } from "./errors.ts";

/** A secret that has changed; without `from` it is gone. */
export interface ChangedSecret {
  readonly name: string;
  readonly from?: string;
  readonly version?: string;
}

/** The server that serves now. */
interface ServerNow {
  readonly profile: string;
  readonly generation: number;
  readonly pid: number;
}

export type McpRunEvent =
  | {
      readonly type: "started";
      readonly profile: string;
      readonly generation: number;
      readonly pid: number;
      readonly secrets: readonly {
        readonly name: string;
        readonly from: string;
        /** Set if it came from the cache: ms since the backend gave it. */
        readonly cachedMs?: number;
      }[];
      readonly ms: number;
    }
  /** Another server has taken over, with other secrets; `ms` since the look that found them. */
  | (ServerNow & {
      readonly type: "swapped";
      readonly changed: readonly ChangedSecret[];
      readonly ms: number;
    })
  /** The server was told that its files hold other secrets. */
  | (ServerNow & {
      readonly type: "signalled";
      readonly changed: readonly ChangedSecret[];
      readonly signal: string;
    })
  /** The server goes on with the old secrets, as its profile wants it. */
  | (ServerNow & { readonly type: "not-swapped"; readonly changed: readonly ChangedSecret[] })
  /** Another server has taken the place of one that ended. */
  | (ServerNow & { readonly type: "restarted" })
  /** New requests of the client wait, since this rotation ends the values that the server has. */
  | (ServerNow & {
      readonly type: "holding";
      readonly rotation: string;
      readonly secrets: readonly string[];
      readonly longestMs: number;
    })
  /** They no longer do. */
  | (ServerNow & {
      readonly type: "let-go";
      readonly rotation: string;
      readonly reason: string;
      readonly ms: number;
    })
  /** All secrets were looked at; whatever has changed is told besides. */
  | { readonly type: "looked"; readonly profile: string; readonly generation: number }
  /** Everything stays as it was, and is tried again. */
  | {
      readonly type: "refresh-failed";
      readonly profile: string;
      readonly code?: ErrorCode;
      readonly reason: string;
      readonly hint?: string;
      readonly retryMs: number;
    }
  /** The server has told its client secrets; `id` as raw JSON. */
  | {
      readonly type: "leak";
      readonly profile: string;
      readonly secrets: readonly string[];
      readonly method?: string;
      readonly id?: string;
      /** The client got a mask in their place. */
      readonly isMasked: boolean;
    }
  | { readonly type: "warning"; readonly message: string; readonly hint?: string }
  | { readonly type: "notice"; readonly message: string }
  | { readonly type: "debug"; readonly message: string };

export type Emit = (event: McpRunEvent) => void;

/**
 * What the rooms have to say. They emit events; only `ui/` turns them into lines. An event holds names,
 * refs, versions and durations, never a value.
 */

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
  | { readonly type: "warning"; readonly message: string; readonly hint?: string }
  | { readonly type: "notice"; readonly message: string }
  | { readonly type: "debug"; readonly message: string };

export type Emit = (event: McpRunEvent) => void;

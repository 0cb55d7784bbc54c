/**
 * What the keychain provider and its helper say to each other: one JSON document on the helper's stdin, one
 * on its stdout. The helper is a process of its own because a native call that waits for an unlock dialog
 * can't be cancelled, and keeps a Node process from ending.
 */

/** Under this service each item that mcp-run has written is noted: account = its path, password = when. */
export const NOTES = "mcp-run entries";

export interface HelperItem {
  readonly service: string;
  readonly account: string;
  /** Windows: the credential's target; the account must fit only where `accountGiven`. */
  readonly target?: string;
  readonly accountGiven?: boolean;
}

export type HelperRequest =
  /** Connects, asks for nothing. */
  | { readonly operation: "probe" }
  | { readonly operation: "get"; readonly items: readonly HelperItem[] }
  | {
      readonly operation: "put";
      readonly item: HelperItem;
      readonly value: string;
      readonly path: string;
      /** ISO 8601 */
      readonly at: string;
    }
  | { readonly operation: "remove"; readonly item: HelperItem; readonly path: string }
  | { readonly operation: "list" };

/** Why a keychain did not do it. */
export type Trouble =
  | "absent"
  | "no-library"
  | "locked"
  | "no-collection"
  | "silent"
  | "ambiguous"
  | "not-text"
  | "too-large"
  | "failed";

export type ItemAnswer =
  | { readonly type: "value"; readonly value: string }
  | { readonly type: "missing" }
  | Failure;

export interface Failure {
  readonly type: "trouble";
  readonly trouble: Trouble;
  /** The library's own words, where ours would say too little. */
  readonly detail?: string;
}

export type HelperReply =
  | { readonly type: "answers"; readonly answers: readonly ItemAnswer[] }
  | { readonly type: "done"; readonly found: boolean }
  | { readonly type: "notes"; readonly notes: readonly { readonly path: string; readonly at: string }[] }
  | Failure;

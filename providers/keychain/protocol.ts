/**
 * What the keychain provider and its helper say to each other: one JSON document on the helper's stdin, one
 * on its stdout. The helper is a process of its own because a native call that waits for an unlock dialog
 * can't be cancelled, and keeps a Node process from ending.
 */

export interface HelperItem {
  readonly service: string;
  readonly account: string;
  /** Windows: the credential's target; the account must fit only where `accountGiven`. */
  readonly target?: string;
  readonly accountGiven?: boolean;
}

export interface ItemChange {
  readonly item: HelperItem;
  /** `null` deletes the item. */
  readonly value: string | null;
}

export type HelperRequest =
  /** Connects, asks for nothing. */
  | { readonly operation: "probe" }
  | { readonly operation: "get"; readonly items: readonly HelperItem[] }
  /** One after the other; those after one that fails are left undone. */
  | { readonly operation: "change"; readonly changes: readonly ItemChange[] }
  /** All items of a service. */
  | { readonly operation: "list"; readonly service: string };

/** Why a keychain did not do it. */
export type Trouble =
  | "absent"
  | "no-library"
  | "no-session"
  | "locked"
  | "refused"
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
  | { readonly type: "done" }
  | {
      readonly type: "items";
      readonly items: readonly { readonly account: string; readonly value: string }[];
    }
  | Failure;

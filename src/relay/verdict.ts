/** What a session decides about one line. */

export type ClientVerdict =
  /** Unchanged, to the current server. */
  | { readonly to: "current" }
  | { readonly to: "nobody" }
  /** Kept until a server takes over. */
  | { readonly to: "held" }
  /** Answered in the place of a server. */
  | { readonly to: "client"; readonly bytes: Buffer }
  /** What each of these generations has to hear. */
  | { readonly to: "some"; readonly letters: readonly Letter[] };

export interface Letter {
  readonly generation: number;
  readonly bytes: Buffer;
}

/** True: unchanged to the client. False: to nobody. Otherwise these bytes to the client. */
export type ServerVerdict = boolean | readonly Buffer[];

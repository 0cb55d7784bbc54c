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

export function toSome(letters: readonly Letter[]): ClientVerdict {
  return { to: "some", letters };
}

/** The same bytes for each of these generations. */
export function toEach(servers: readonly { readonly number: number }[], bytes: Buffer): ClientVerdict {
  return toSome(servers.map(({ number }) => ({ generation: number, bytes })));
}

/** Members of a batch that go their own ways. @param current the server that is meant by `current` */
export function together(
  members: readonly { readonly bytes: Buffer; readonly verdict: ClientVerdict }[],
  current: number | undefined,
): ClientVerdict {
  const letters: Letter[] = [];
  const answers: Buffer[] = [];
  for (const { bytes, verdict } of members) {
    if (verdict.to === "some") letters.push(...verdict.letters);
    else if (verdict.to === "client") answers.push(verdict.bytes);
    else if (verdict.to === "current" && current !== undefined) letters.push({ generation: current, bytes });
  }
  if (answers.length > 0) return { to: "client", bytes: Buffer.concat(answers) };
  return letters.length > 0 ? toSome(letters) : { to: "nobody" };
}

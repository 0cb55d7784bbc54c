/** A person who answers what the test says, and remembers what was asked and told. */
import type { Ask } from "../../../src/rotation/issuers/ask.ts";
import { Secret } from "../../../src/secrets/secret.ts";

export interface Person extends Ask {
  /** Every line that was shown, in order. */
  readonly seen: string[];
}

/**
 * @param entered the values that are typed, one after the other
 * @param says the answers to questions, one after the other; then yes
 */
export function person(entered: readonly string[] = [], says: readonly boolean[] = []): Person {
  const seen: string[] = [];
  const values = [...entered];
  const answers = [...says];
  return {
    seen,
    tell: (line) => void seen.push(line),
    async secret(question) {
      seen.push(question);
      return new Secret(values.shift() ?? "");
    },
    async confirm(question) {
      seen.push(question);
      return answers.shift() ?? true;
    },
    fingerprint: (value) => `f${value.reveal().length}`,
  };
}

export const REQUEST = {
  rotationId: "20270115-120000-abcdef",
  profile: "github",
  secret: "TOKEN",
  reason: "leaked in a build log",
};

export function never(): AbortSignal {
  return new AbortController().signal;
}

/** `--from-stdin`: one new key, made elsewhere and piped in. */
import { McpRunError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Issuer } from "../contract.ts";
import { type Ask, endedByPerson } from "./ask.ts";

/**
 * @param read reads all of stdin; called at most once
 * @param ask whoever can say that the old key is revoked, where there is a terminal besides the pipe
 */
export function stdinIssuer(read: (signal: AbortSignal) => Promise<Secret>, ask: Ask | undefined): Issuer {
  let isRead = false;
  return {
    kind: "stdin",
    async mint({ secret }, signal) {
      if (isRead) {
        throw new McpRunError("usage", `Cannot mint a new ${secret}: stdin held one value, and it is taken`, {
          hint: "one rotation for each secret: `--secret NAME`",
        });
      }
      isRead = true;
      const value = await read(signal);
      if (value.isEmpty) {
        throw new McpRunError("usage", `Cannot mint a new ${secret}: nothing came from stdin`, {
          hint: "piping the new value in",
        });
      }
      return { value };
    },
    find: async () => undefined,
    revoke: ({ secret }, { keyId, isCandidate }, signal) =>
      endedByPerson(
        ask,
        `Have you revoked the ${isCandidate ? "new" : "old"} ${secret}${keyId === undefined ? "" : ` (${keyId})`} where it was made?`,
        signal,
      ),
    verify: async () => "unknown",
  };
}

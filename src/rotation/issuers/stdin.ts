/** `--from-stdin`: one new key, made elsewhere and piped in. */
import { McpRunError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Issuer } from "../contract.ts";

/** @param read reads all of stdin; called at most once */
export function stdinIssuer(read: (signal: AbortSignal) => Promise<Secret>): Issuer {
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
    revoke: async () => "unknown",
    verify: async () => "unknown",
  };
}

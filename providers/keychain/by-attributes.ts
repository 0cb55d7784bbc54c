/**
 * Reads an item of the Secret Service by the attributes that another program gave it. The native library
 * knows only `service` and `username`, so this asks libsecret's own tool; attributes are no secrets.
 */
import { isUtf8 } from "node:buffer";
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import type { ItemAnswer } from "./protocol.ts";
import { troubleError, waitedInVain } from "./trouble.ts";

const MAX_BYTES = 1024 * 1024;

/**
 * Missing, absent and locked are answers, not throws.
 *
 * @param timeoutMs for a person to unlock the keychain
 */
export async function readByAttributes(
  attributes: Readonly<Record<string, string>>,
  { runProgram }: ProviderContext,
  env: Readonly<Record<string, string>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ItemAnswer | ProviderError> {
  const outcome = await runProgram({
    argv: ["secret-tool", "lookup", ...Object.entries(attributes).flat()],
    env,
    timeoutMs,
    maxOutputBytes: MAX_BYTES,
    signal,
  });
  if (outcome.type === "not-started") {
    return new ProviderError("unavailable", `attributes: needs the program secret-tool (${outcome.code})`, {
      hint: "installing it: the package is libsecret-tools or libsecret",
    });
  }
  if (outcome.type === "timed-out") return waitedInVain(timeoutMs);
  if (outcome.type !== "exited")
    return troubleError({ trouble: "failed", detail: `secret-tool: ${outcome.type}` });
  if (outcome.exitCode === 0) {
    if (!isUtf8(outcome.stdout)) return troubleError({ trouble: "not-text" });
    return { type: "value", value: outcome.stdout.toString() };
  }
  if (outcome.stderr !== "") return troubleError({ trouble: "absent" });
  // Its exit code does not tell an absent item from one that stayed locked.
  return new ProviderError("missing", "the keychain has no item with these attributes, or it is locked", {
    hint: "looking at the item's attributes in the keychain's own application, which also unlocks it",
  });
}

/** Asks the helper once. A wait is announced: a dialog may be open where nobody looks. */
import type { ProviderContext } from "../../src/secrets/provider.ts";
import type { HelperReply, HelperRequest } from "./protocol.ts";
import { troubleError, waitedInVain } from "./trouble.ts";

/** How long a person may take to unlock the keychain. */
export const UNLOCK_MS = 50_000;

const ANNOUNCE_AFTER_MS = 2_000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/** Rejects with ProviderError when no reply came, and with the signal's reason when aborted. */
export async function askHelper(
  { clock, emit, runProgram, keychainHelper }: ProviderContext,
  request: HelperRequest,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
  timeoutMs = UNLOCK_MS,
): Promise<HelperReply> {
  const announcement = clock.after(ANNOUNCE_AFTER_MS, () => {
    if (request.operation === "probe") return;
    const message = `Waiting for the keychain, which may be asking to be unlocked (at most ${UNLOCK_MS / 1000} s)`;
    emit({ type: "notice", message });
  });
  try {
    const outcome = await runProgram({
      argv: keychainHelper,
      input: JSON.stringify(request),
      env,
      timeoutMs,
      maxOutputBytes: MAX_REPLY_BYTES,
      signal,
    });
    if (outcome.type === "timed-out") throw waitedInVain(timeoutMs);
    if (outcome.type !== "exited" || outcome.exitCode !== 0) {
      throw troubleError({ trouble: "failed", detail: `its helper program: ${outcome.type}` });
    }
    return parsed(outcome.stdout.toString());
  } finally {
    announcement.cancel();
  }
}

/** Its error is not passed on: the parser's message quotes the text, which holds secrets. */
function parsed(reply: string): HelperReply {
  try {
    return JSON.parse(reply) as HelperReply;
  } catch {
    return { type: "trouble", trouble: "failed", detail: "its helper program gave half an answer" };
  }
}

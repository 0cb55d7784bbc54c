/** Each way in which a keychain fails, as what a person can do about it. */
import { ProviderError, type ProviderFailure } from "../../src/errors.ts";
import type { Failure, Trouble } from "./protocol.ts";

const ELSEWHERE = "the embedded store instead: mcp-run secrets set local:NAME";
const UNLOCK =
  "unlocking it: log in to the desktop, or open the keychain's own application, then start again";

interface Words {
  readonly failure: ProviderFailure;
  readonly reason: string;
  readonly hint: string;
  /** True if the library's own words add something. */
  readonly withDetail?: boolean;
}

const WORDS: Readonly<Record<Trouble, Words>> = {
  absent: {
    failure: "unavailable",
    reason: "no keychain answers on this machine",
    hint: ELSEWHERE,
    withDetail: true,
  },
  "no-library": {
    failure: "unavailable",
    reason: "the keychain library @napi-rs/keyring can't be loaded on this platform",
    hint: `reinstalling mcp-run with optional dependencies, or ${ELSEWHERE}`,
  },
  "no-session": {
    failure: "unavailable",
    reason: "Windows gives no credentials to this logon session (ERROR_NO_SUCH_LOGON_SESSION)",
    hint: `starting it from a desktop session instead of a service or SSH, or ${ELSEWHERE}`,
  },
  refused: {
    failure: "denied",
    reason: "the keychain refused us this item: its dialog was answered with «Deny»",
    hint: "again, and «Always Allow»; or Keychain Access, where the item's Access Control names who may read it",
  },
  locked: { failure: "unavailable", reason: "the keychain is locked, and was not unlocked", hint: UNLOCK },
  "no-collection": {
    failure: "unavailable",
    reason: "the keychain has no default collection to write to",
    hint: `logging in to the desktop once, which makes one; or ${ELSEWHERE}`,
  },
  silent: {
    failure: "unavailable",
    reason: "the keychain does not answer",
    hint: "again; if it stays so, end the keychain's service, which is started anew when it is needed",
  },
  ambiguous: {
    failure: "invalid",
    reason: "several items of the keychain match",
    hint: "removing one of them, or naming more with attributes: (Linux) or an account (Windows)",
  },
  "not-text": {
    failure: "invalid",
    reason: "the item's value is not text",
    hint: "storing a text form of it, such as base64",
  },
  "too-large": {
    failure: "invalid",
    reason: "the value is larger than this keychain takes (Windows: 2,560 bytes of UTF-16)",
    hint: ELSEWHERE,
  },
  failed: {
    failure: "unavailable",
    reason: "the keychain's library failed",
    hint: `again, or ${ELSEWHERE}`,
    withDetail: true,
  },
};

/** What the resolver reports of it: reason, failure and hint, with the library's own words where they say more. */
export function troubleError({ trouble, detail }: Omit<Failure, "type">): ProviderError {
  const { failure, reason, hint, withDetail } = WORDS[trouble];
  return new ProviderError(failure, withDetail && detail ? `${reason} (${detail})` : reason, { hint });
}

/** Nobody has answered the keychain's dialog, or it hangs. */
export function waitedInVain(ms: number): ProviderError {
  return new ProviderError("unavailable", `the keychain was not unlocked within ${ms / 1000} s`, {
    hint: UNLOCK,
  });
}

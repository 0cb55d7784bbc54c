/** How a rotation tells values apart without writing them down: the same as the control socket answers. */
import { randomBytes } from "node:crypto";
import { fingerprintOf } from "../control/fingerprint.ts";
import type { Secret } from "../secrets/secret.ts";

const KEY_BYTES = 32;

/** 32 bytes in base64url. */
export function newFingerprintKey(): string {
  return randomBytes(KEY_BYTES).toString("base64url");
}

/** HMAC-SHA256 under the key of the rotation, 64 hex digits. */
export function fingerprintUnder(key: string, value: Secret): string {
  return fingerprintOf(value.reveal(), Buffer.from(key, "base64url"));
}

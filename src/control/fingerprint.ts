/** By what two mcp-runs know a value without telling it: HMAC-SHA256 in hex under a key of a rotation. */
import { createHmac } from "node:crypto";

/** @param value UTF-8 */
export function fingerprintOf(value: string, key: Buffer): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

/** Of several at once, in this order. */
export function jointFingerprint(fingerprints: readonly string[], key: Buffer): string {
  return fingerprintOf(fingerprints.join(" "), key);
}

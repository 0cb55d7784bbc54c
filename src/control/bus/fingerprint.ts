/** By what a value is known on the bus: HMAC-SHA256 in hex under the key of a rotation. */
import { createHmac } from "node:crypto";

export function busFingerprint(value: string, key: Buffer): string {
  return createHmac("sha256", key).update(value).digest("hex");
}

/** Of several at once, in this order. */
export function jointFingerprint(fingerprints: readonly string[], key: Buffer): string {
  return busFingerprint(fingerprints.join(" "), key);
}

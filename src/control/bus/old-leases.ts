/**
 * How an entry names the leases that are about to be revoked: by the beginnings of fingerprints under its key, since a
 * message for ten thousand supervisors names as many. Whoever has a lease that only begins like one of them takes another
 * in vain; whether a server has an old one is judged by the whole fingerprint, by who has asked.
 */
import { fingerprintOf } from "../fingerprint.ts";
import { OLD_LEASE_CHARACTERS } from "./messages.ts";

/** @param fingerprints of their ids, in hex */
export function writeOldLeases(fingerprints: Iterable<string>): string {
  return [...fingerprints].map(beginningOf).join("");
}

/** Whether a lease with this id is named. */
export function oldLeasesIn(written: string, key: Buffer): (lease: string) => boolean {
  const named = new Set(written.match(new RegExp(`.{${OLD_LEASE_CHARACTERS}}`, "g")));
  return (lease) => named.has(beginningOf(fingerprintOf(lease, key)));
}

/** By this whoever reads fingerprints of leases knows that they are under his key, and not under that of a forged entry. */
export function fingerprintOfKey(key: Buffer): string {
  return fingerprintOf("", key);
}

function beginningOf(fingerprint: string): string {
  return Buffer.from(fingerprint, "hex").toString("base64url").slice(0, OLD_LEASE_CHARACTERS);
}

/**
 * Keychains keep no versions, so a value's version is named after the value: a keyed hash, whose random key lies in
 * the keychain itself. Who sees the name, but not the keychain, can't try values against it.
 */
import { createHmac, randomBytes } from "node:crypto";

export function newVersionKey(): string {
  return randomBytes(32).toString("hex");
}

/** @param entry the path, so that the same value of two entries has two names */
export function versionName(key: string, entry: string, value: string): string {
  return `k${createHmac("sha256", key).update(`${entry}\0${value}`).digest("hex").slice(0, 32)}`;
}

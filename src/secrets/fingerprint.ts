/**
 * Fingerprints of credentials and values: HMAC with a random key of this machine, so that nobody who finds one
 * can try out guesses. The same on every start, and worthless on another machine.
 */
import { createHmac, randomBytes } from "node:crypto";
import { join } from "node:path";
import { readPrivate, writePrivate } from "./private-file.ts";

const KEY_BYTES = 32;

export type Fingerprint = (content: unknown) => string;

/**
 * Makes the key at first use, in the folder for state. Throws system errors.
 *
 * @returns a function from any JSON value to 32 hex digits; the order of its keys does not matter
 */
export function fingerprints(stateFolder: string): Fingerprint {
  const file = join(stateFolder, "fingerprint.key");
  const read = () => readPrivate(file, KEY_BYTES);
  let key = read();
  if (key?.length !== KEY_BYTES) {
    writePrivate(file, randomBytes(KEY_BYTES));
    // Another start may have made one at the same time; the last one counts.
    key = read() ?? Buffer.alloc(0);
  }
  const secret = key;
  return (content) => createHmac("sha256", secret).update(canonical(content)).digest("hex").slice(0, 32);
}

/** JSON with the keys of every object in order. */
export function canonical(content: unknown): string {
  return JSON.stringify(content, (_key, value) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

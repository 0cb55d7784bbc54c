/** Small files of our own: 0600 in 0700 folders, replaced as a whole, so that a reader never sees half of one. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { systemErrorCode } from "../errors.ts";

/** At most `mostBytes` of the file; undefined if there is none. Throws system errors. */
export function readPrivate(file: string, mostBytes: number): Buffer | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(mostBytes);
    return bytes.subarray(0, readSync(descriptor, bytes, 0, mostBytes, 0));
  } finally {
    closeSync(descriptor);
  }
}

/** Replaces the file, and makes its folder. Throws system errors; the old content is then intact. */
export function writePrivate(file: string, content: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    writeFileSync(draft, content, { mode: 0o600, flag: "wx" });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** False if there was none. Throws system errors. */
export function removePrivate(file: string): boolean {
  try {
    rmSync(file);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** Removes what nobody has written in this folder for `ms`. What can't be removed stays for the next time. */
export function sweepFolder(folder: string, ms: number, now: number): void {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    try {
      if (now - statSync(file).mtimeMs > ms) rmSync(file);
    } catch (error) {
      // Another mcp-run may have been quicker.
      if (systemErrorCode(error) === undefined) throw error;
    }
  }
}

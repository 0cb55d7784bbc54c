/** A folder that only its owner can enter. */
import { lstatSync, mkdirSync } from "node:fs";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { shellWord } from "../shell-word.ts";

/**
 * Makes it, 0700, if it is not there. Throws McpRunError `access-denied` where somebody else could look into it.
 *
 * @param uid undefined on Windows, where the user's own profile folder guards it
 */
export function makePrivateFolder(folder: string, uid: number | undefined): void {
  const fail = (state: string, hint: string) =>
    new McpRunError("access-denied", `Cannot keep journals in ${folder}: ${state}`, { hint });
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw fail(code, "a home directory that can be written to");
  }
  const found = lstatSync(folder);
  if (found.isSymbolicLink()) throw fail("it is a symbolic link", `rm ${shellWord(folder)}`);
  if (!found.isDirectory()) throw fail("it is not a directory", `rm ${shellWord(folder)}`);
  if (uid === undefined) return;
  if (found.uid !== uid) throw fail("it belongs to another user", `sudo rm -r ${shellWord(folder)}`);
  if ((found.mode & 0o077) !== 0) throw fail("it is open to others", `chmod 700 ${shellWord(folder)}`);
}

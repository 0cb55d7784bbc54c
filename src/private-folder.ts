/** A folder for what only its owner may see, and what makes a new file in it last. */
import { constants } from "node:fs";
import { lstat, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { type McpRunError, systemErrorCode } from "./errors.ts";
import { shellWord } from "./shell-word.ts";

/**
 * Makes it, 0700, if it is not there. Throws what `unsafe` makes of a state and its mend where somebody else could
 * look into it, and system errors where there can be none.
 *
 * @param uid undefined on Windows, where the user's own profile folder guards it
 */
export async function makePrivateFolder(
  folder: string,
  uid: number | undefined,
  unsafe: (state: string, hint: string) => McpRunError,
): Promise<void> {
  await makeFolders(folder);
  const found = await lstat(folder);
  if (found.isSymbolicLink()) throw unsafe("it is a symbolic link", `rm ${shellWord(folder)}`);
  if (!found.isDirectory()) throw unsafe("it is not a directory", `rm ${shellWord(folder)}`);
  if (uid === undefined) return;
  if (found.uid !== uid) throw unsafe("it belongs to another user", `sudo rm -r ${shellWord(folder)}`);
  if ((found.mode & 0o077) !== 0) throw unsafe("it is open to others", `chmod 700 ${shellWord(folder)}`);
}

/** A file is there after a loss of power only if its folder says so; Windows has no such call. */
export async function syncFolder(folder: string): Promise<void> {
  if (constants.O_DIRECTORY === undefined) return;
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Not by mkdir's own `recursive`: where a system takes no folder at all, as in /proc, that never ends. */
async function makeFolders(folder: string): Promise<void> {
  const above = dirname(folder);
  const code = await makeFolder(folder);
  if (code !== "ENOENT" || above === folder) return;
  await makeFolders(above);
  await makeFolder(folder);
}

/** Gives ENOENT where the folder above is missing, and EEXIST where something is there already. */
async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== "EEXIST" && code !== "ENOENT") throw error;
    return code;
  }
  return undefined;
}

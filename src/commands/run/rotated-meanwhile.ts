/**
 * Whether a rotation was at work on this machine while a supervisor fetched its secrets: it may have fetched the old
 * value and come to its socket when everybody had been told already. On a bus it would read that itself.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../../errors.ts";
import { journalFolder } from "../../rotation/journal/folder.ts";

/** Ms by which the time of a file may be coarser than the clock. */
const COARSE_MS = 2_000;

/** @param since wall-clock ms */
export async function rotatedSince(stateFolder: string, since: number): Promise<boolean> {
  const folder = journalFolder(stateFolder);
  try {
    const times = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).mtimeMs);
    return (await Promise.all(times)).some((time) => time >= since - COARSE_MS);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    // There was none yet, or nobody can say.
    return false;
  }
}

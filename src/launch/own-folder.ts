/**
 * Folders that belong to one run of mcp-run: 0700, fresh, and named after the process that made them, so
 * that the next start can clear away what a crash has left. Where they are is the caller's choice.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { shellWord } from "../shell-word.ts";
import { livingProcess } from "./process-table.ts";

/** `PID-START-random`; START in letters and digits only. */
const NAME = /^(\d+)-([A-Za-z0-9]*)-[A-Za-z0-9_]+$/;

/**
 * Makes a new folder below `base`, which is made too (0700) if it is not there.
 * Throws McpRunError `access-denied` where that can't be, or where `base` could be somebody else's.
 */
export function makeOwnFolder(base: string, platform: NodeJS.Platform, uid: number | undefined): string {
  const fail = (state: string, hint: string) =>
    new McpRunError("access-denied", `Cannot make a private folder in ${base}: ${state}`, { hint });
  try {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    const found = lstatSync(base);
    if (!found.isDirectory()) throw fail("it is not a directory", `rm ${shellWord(base)}`);
    if (uid !== undefined && found.uid !== uid)
      throw fail("it belongs to another user", `sudo rm -r ${shellWord(base)}`);
    if (uid !== undefined && (found.mode & 0o022) !== 0)
      throw fail("others can write to it", `chmod 700 ${shellWord(base)}`);
    return mkdtempSync(join(base, `${process.pid}-${startWord(process.pid, platform)}-`));
  } catch (error) {
    if (error instanceof McpRunError) throw error;
    throw fail(systemErrorCode(error) ?? "unknown reason", "a home directory that can be written to");
  }
}

/** Removes a folder and all that is in it. Never throws: at the next start it would be stale. */
export function removeOwnFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
  }
}

/** Removes the folders below `base` whose process has gone; gives how many there were. */
export function removeStaleFolders(base: string, platform: NodeJS.Platform): number {
  let removed = 0;
  for (const name of namesIn(base)) {
    const [, pid, start] = NAME.exec(name) ?? [];
    if (pid === undefined || startWord(Number(pid), platform) === start) continue;
    removeOwnFolder(join(base, name));
    removed++;
  }
  return removed;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return [];
  }
}

/** When the process started, in a form for file names; undefined if it does not live. */
function startWord(pid: number, platform: NodeJS.Platform): string | undefined {
  if (platform === "win32") return isAliveOnWindows(pid) ? "" : undefined;
  return livingProcess(pid, platform)?.startedAt.replaceAll(/[^A-Za-z0-9]/g, "");
}

function isAliveOnWindows(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

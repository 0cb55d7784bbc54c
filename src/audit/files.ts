/**
 * The files of the audit: one for each process and day, so that no two ever write to the same. The name tells the
 * day, the host, the process, when it opened the file, and for how many days it is kept if those are not 90: also
 * of a file that has gone it is known whether it had to.
 */
import { constants } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { makePrivateFolder } from "../private-folder.ts";

const NAME = /^(\d{4}-\d\d-\d\d)-.+-\d+-[0-9a-z]+(?:\.(\d{1,4})d)?\.jsonl$/;
/** Days for which a file is kept whose name does not say otherwise. */
export const KEPT_DAYS = 90;
const MOST_HOST = 64;
/** Far beyond any record; a line that is longer is none. */
const MOST_LINE_BYTES = 16 * 2 ** 20;

/** The day (UTC) of a time in ms since the epoch, as `2026-11-21`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

export interface FileName {
  readonly host: string;
  readonly pid: number;
  /** Ms since the epoch. */
  readonly openedAt: number;
  readonly keptDays: number;
}

export function auditFileName({ host, pid, openedAt, keptDays }: FileName, twin = ""): string {
  const kept = keptDays === KEPT_DAYS ? "" : `.${keptDays}d`;
  const where = host.replaceAll(/[^A-Za-z0-9._-]/g, "_").slice(0, MOST_HOST) || "_";
  return `${dayOf(openedAt)}-${where}-${pid}-${Math.trunc(openedAt).toString(36)}${twin}${kept}.jsonl`;
}

/** The day of a file's name; undefined for a file that is not of the audit. */
export function dayOfFile(name: string): string | undefined {
  return NAME.exec(name)?.[1];
}

/** For how many days the file of this name is kept. */
export function keptDaysOf(name: string): number {
  const [, , days] = NAME.exec(name) ?? [];
  return days === undefined ? KEPT_DAYS : Number(days);
}

/** The names of all files, oldest day first; none where there is no folder. Throws McpRunError `access-denied`. */
export async function auditFiles(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter((name) => dayOfFile(name) !== undefined).sort();
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw unreadable(folder, error);
  }
}

/** Makes the folder if it is not there. Throws McpRunError `access-denied` where somebody else could look into it. */
export async function makeAuditFolder(folder: string, uid: number | undefined): Promise<void> {
  const fail = (state: string, hint: string) =>
    new McpRunError("access-denied", `Cannot write the audit to ${folder}: ${state}`, { hint });
  await makePrivateFolder(folder, uid, fail);
}

export interface Line {
  /** Without the newline. */
  readonly bytes: Buffer;
  /** False for a last line without a newline: its writer was killed, or is at it. */
  readonly isWhole: boolean;
}

/** Throws McpRunError `access-denied` if the file can't be read or is no ordinary file; nothing if it has gone. */
export async function* linesOf(folder: string, name: string): AsyncGenerator<Line> {
  const path = join(folder, name);
  let rest: Buffer[] = [];
  let waiting = 0;
  try {
    for await (const chunk of chunksOf(path)) {
      let start = 0;
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
        yield { bytes: Buffer.concat([...rest, chunk.subarray(start, end)]), isWhole: true };
        start = end + 1;
        rest = [];
        waiting = 0;
      }
      // Of a longer one only so much that it is seen to be none.
      if (waiting < MOST_LINE_BYTES) rest.push(chunk.subarray(start));
      waiting += chunk.length - start;
    }
  } catch (error) {
    if (error instanceof McpRunError) throw error;
    if (systemErrorCode(error) === "ENOENT") return;
    throw unreadable(path, error);
  }
  if (waiting > 0) yield { bytes: Buffer.concat(rest), isWhole: false };
}

async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  // A pipe in the place of a file must not hold us up, nor a link lead us elsewhere. Neither flag is there on Windows.
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    if (!(await handle.stat()).isFile())
      throw new McpRunError("access-denied", `Cannot read ${path}: it is not an ordinary file`);
    yield* handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>;
  } finally {
    await handle.close();
  }
}

function unreadable(path: string, error: unknown): McpRunError {
  const code = systemErrorCode(error);
  if (code === undefined) throw error;
  const state = code === "ELOOP" ? "it is a symbolic link" : code;
  return new McpRunError("access-denied", `Cannot read ${path}: ${state}`, {
    hint: "the user whose mcp-run wrote it",
  });
}

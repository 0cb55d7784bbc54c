/**
 * Reads a file that decides which programs are started and which secrets they get. It must be a regular
 * file that nobody but its user and root can change: neither itself nor, by replacing it, through a folder
 * above it. Owner and mode are those of the opened file, so that it can't be exchanged in between.
 */
import { isUtf8 } from "node:buffer";
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { shellWord } from "../shell-word.ts";
import type { ProfileRequest } from "./request.ts";

export const MOST_BYTES = 2 ** 20;

const WRITABLE_BY_OTHERS = 0o002;
const WRITABLE_BY_GROUP = 0o020;
const STICKY = 0o1000;

type Trust = Pick<ProfileRequest, "platform" | "uid" | "gid">;

/**
 * The text of the file without a byte order mark, or undefined if there is none. Throws McpRunError:
 * `access-denied` for a file that can't be read or trusted, `profile-invalid` for what can't be a profile.
 */
export function readTrustedFile(path: string, trust: Trust, mostBytes = MOST_BYTES): string | undefined {
  const descriptor = open(path);
  if (descriptor === undefined) return undefined;
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile())
      throw cannotLoad(path, stats.isDirectory() ? "it is a folder" : "it is not a regular file");
    checkTrust(path, stats, trust);
    return decoded(path, readBounded(descriptor, path, mostBytes));
  } catch (error) {
    if (error instanceof McpRunError) throw error;
    throw cannotLoad(path, systemErrorCode(error) ?? "unknown failure");
  } finally {
    closeSync(descriptor);
  }
}

function open(path: string): number | undefined {
  try {
    // Non-blocking: a FIFO must not hold us up before we have seen what it is.
    return openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const code = systemErrorCode(error) ?? "unknown failure";
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === "EACCES" || code === "EPERM") {
      throw new McpRunError("access-denied", `Cannot load ${path}: permission denied`, {
        hint: `chmod u+r ${shellWord(path)}, and chmod u+x for the folders above it`,
      });
    }
    throw cannotLoad(path, code);
  }
}

function readBounded(descriptor: number, path: string, mostBytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(Math.min(fstatSync(descriptor).size, mostBytes) + 1);
  let length = 0;
  for (;;) {
    const count = readSync(descriptor, buffer, length, buffer.length - length, null);
    length += count;
    if (length > mostBytes) throw cannotLoad(path, `it is larger than ${mostBytes / 2 ** 20} MiB`);
    if (count === 0) return buffer.subarray(0, length);
    if (length === buffer.length) throw cannotLoad(path, "it grew while it was read");
  }
}

function decoded(path: string, bytes: Buffer): string {
  if (!isUtf8(bytes)) throw cannotLoad(path, "it is not UTF-8 text");
  const text = bytes.toString("utf8");
  return text.startsWith("\uFEFF") ? text.slice(1) : text;
}

function cannotLoad(path: string, state: string): McpRunError {
  return new McpRunError("profile-invalid", `Cannot load ${path}: ${state}`);
}

function checkTrust(path: string, stats: Stats, trust: Trust): void {
  const { platform, uid } = trust;
  if (platform === "win32" || uid === undefined) return;
  const problems: Problem[] = [];
  inspect("it", path, stats, trust, problems);
  const folders = new Set([dirname(resolve(path)), dirname(realpathSync(path))]);
  for (const folder of folders) inspect(`its folder ${folder}`, folder, statSync(folder), trust, problems);
  for (const folder of ancestorsOf(folders)) {
    const { mode } = statSync(folder);
    if (mode & WRITABLE_BY_OTHERS && !(mode & STICKY))
      problems.push(writable(`the folder ${folder} above it`, folder, mode, "o-w"));
  }
  if (problems.length === 0) return;
  const state = problems.map((problem) => problem.state).join(", and ");
  throw new McpRunError("access-denied", `Cannot load ${path}: ${state}`, {
    hint: problems.map((problem) => problem.mend).join(" && "),
  });
}

interface Problem {
  readonly state: string;
  /** The command that mends it. */
  readonly mend: string;
}

function inspect(what: string, path: string, stats: Stats, { uid, gid }: Trust, problems: Problem[]): void {
  if (stats.uid !== uid && stats.uid !== 0) {
    const sudo = uid === 0 ? "" : "sudo ";
    problems.push({
      state: `${what} belongs to another user (uid ${stats.uid})`,
      mend: `${sudo}chown ${uid} ${shellWord(path)}`,
    });
  }
  if (stats.isDirectory() && stats.mode & STICKY) return;
  const isOwnGroup = stats.gid === uid && (gid === undefined || gid === uid);
  const byGroup = stats.mode & WRITABLE_BY_GROUP && !isOwnGroup;
  const byOthers = stats.mode & WRITABLE_BY_OTHERS;
  if (byGroup || byOthers)
    problems.push(writable(what, path, stats.mode, `${byGroup ? "g" : ""}${byOthers ? "o" : ""}-w`));
}

function writable(what: string, path: string, mode: number, change: string): Problem {
  return {
    state: `${what} can be changed by other users (mode ${(mode & 0o7777).toString(8).padStart(4, "0")})`,
    mend: `chmod ${change} ${shellWord(path)}`,
  };
}

/** The folders above these, up to the root, each once. */
function ancestorsOf(folders: ReadonlySet<string>): ReadonlySet<string> {
  const ancestors = new Set<string>();
  for (const folder of folders) {
    for (let at = dirname(folder); !ancestors.has(at) && at !== folder; at = dirname(at)) {
      ancestors.add(at);
      if (dirname(at) === at) break;
    }
  }
  for (const folder of folders) ancestors.delete(folder);
  return ancestors;
}

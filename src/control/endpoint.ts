/**
 * Where running supervisors of one user can be reached: a socket each in a folder that only its owner can enter,
 * named after the process; on Windows a named pipe each. A socket that a killed process has left is removed by
 * whoever finds it.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import { shellWord } from "../shell-word.ts";

export interface ControlPlace {
  /** Paths.run */
  readonly folder: string;
  readonly platform: NodeJS.Platform;
  /** Undefined on Windows. */
  readonly uid: number | undefined;
  /** Asked on Windows only, where the pipes of all users are in one place. */
  readonly loginName: () => string;
}

export interface Endpoint {
  readonly pid: number;
  /** Of the socket or pipe. */
  readonly path: string;
}

const SOCKET_NAME = /^([1-9]\d{0,9})\.sock$/;
const PIPES = "\\\\.\\pipe\\";

/** Bytes of a socket's path, unix(7): `sun_path` less its closing NUL. */
const LONGEST_PATH_ON_LINUX = 107;
const LONGEST_PATH_ELSEWHERE = 103;

/** Ms in which a process that has bound its socket surely listens to it. */
const SURELY_LISTENS_MS = 10_000;

/** Where the process listens. Throws McpRunError `usage` if the system allows no path of that length. */
export function endpointOf(place: ControlPlace, pid: number): Endpoint {
  if (place.platform === "win32") return { pid, path: `${pipePrefix(place)}${pid}` };
  const path = join(place.folder, `${pid}.sock`);
  const bytes = Buffer.byteLength(path);
  const most = place.platform === "linux" ? LONGEST_PATH_ON_LINUX : LONGEST_PATH_ELSEWHERE;
  if (bytes <= most) return { pid, path };
  throw new McpRunError(
    "usage",
    `Cannot have a socket at ${path}: the path has ${bytes} bytes, and the system allows ${most}`,
    { hint: "a shorter MCP_RUN_HOME" },
  );
}

/** Makes the folder, 0700. Throws McpRunError `access-denied` where that can't be, or somebody else can enter it. */
export function makeFolder(place: ControlPlace): void {
  if (place.platform === "win32") return;
  try {
    mkdirSync(place.folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const reason = systemErrorCode(error);
    if (reason === undefined) throw error;
    throw unsafe(place, reason, "a home directory that can be written to");
  }
  checkFolder(place);
}

/** Every endpoint of this user, newest last; some may be stale. Throws McpRunError as makeFolder does. */
export function listEndpoints(place: ControlPlace): readonly Endpoint[] {
  if (place.platform === "win32") return listPipes(place);
  if (!checkFolder(place)) return [];
  return readdirSync(place.folder)
    .flatMap((name) => {
      const pid = SOCKET_NAME.exec(name)?.[1];
      const path = join(place.folder, name);
      const madeAt = pid === undefined ? undefined : timeOf(path);
      return madeAt === undefined ? [] : [{ endpoint: { pid: Number(pid), path }, madeAt }];
    })
    .sort((one, other) => one.madeAt - other.madeAt)
    .map(({ endpoint }) => endpoint);
}

/**
 * To be called for an endpoint that refuses connections. Removes it, and gives true, unless its process may be just
 * about to listen to it.
 *
 * @param now wall-clock ms
 */
export function removeIfStale({ pid, path }: Endpoint, now: number): boolean {
  if (path.startsWith(PIPES)) return true;
  const madeAt = timeOf(path);
  if (madeAt === undefined) return true;
  if (isThere(pid) && Math.abs(now - madeAt) < SURELY_LISTENS_MS) return false;
  try {
    rmSync(path, { force: true });
  } catch (error) {
    // It stays for whoever comes next, and nobody answers there.
    if (systemErrorCode(error) === undefined) throw error;
  }
  return true;
}

/** False if there is none. */
function checkFolder(place: ControlPlace): boolean {
  const { folder, uid } = place;
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (!found) return false;
  if (!found.isDirectory()) throw unsafe(place, "it is not a directory", `rm ${shellWord(folder)}`);
  if (uid !== undefined && found.uid !== uid)
    throw unsafe(place, "it belongs to another user", "mcp-run as that user");
  if ((found.mode & 0o077) !== 0)
    throw unsafe(place, "others can enter it", `chmod 700 ${shellWord(folder)}`);
  return true;
}

function unsafe({ folder }: ControlPlace, state: string, hint: string): McpRunError {
  return new McpRunError("access-denied", `Cannot use the folder for sockets ${folder}: ${state}`, { hint });
}

function listPipes(place: ControlPlace): readonly Endpoint[] {
  const prefix = pipePrefix(place).slice(PIPES.length);
  return readdirSync(PIPES)
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d{0,9}$/.test(name.slice(prefix.length)))
    .map((name) => ({ pid: Number(name.slice(prefix.length)), path: `${PIPES}${name}` }));
}

function pipePrefix({ loginName }: ControlPlace): string {
  return `${PIPES}mcp-run-${loginName().replaceAll(/[^A-Za-z0-9._-]/g, "_")}-`;
}

function timeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0) && !isZombie(pid);
  } catch (error) {
    // A process of somebody else has our pid: it may be one of ours in another container.
    return systemErrorCode(error) === "EPERM";
  }
}

/** It has ended, and its parent has not taken note of it yet. proc(5); elsewhere nobody knows. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}

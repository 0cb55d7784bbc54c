/**
 * `deliver: file`: each such secret of a generation in a 0600 file in a 0700 folder, its path in NAME_FILE.
 * In memory where /run/user/UID is a tmpfs, else beside our sockets. The folder goes with its generation;
 * what a crash has left goes at the next start.
 */
import { statfsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { McpRunError, systemErrorCode } from "../errors.ts";
import type { Secret } from "../secrets/secret.ts";
import type { Environment } from "./environment.ts";
import { makeOwnFolder, removeOwnFolder, removeStaleFolders } from "./own-folder.ts";

/** TMPFS_MAGIC in linux/magic.h */
const TMPFS = 0x01021994;

export interface DeliveredFiles {
  /** NAME_FILE and the path, for each secret. */
  readonly env: Environment;
  /** May be called twice. */
  remove(): void;
}

export interface FilePlace {
  readonly platform: NodeJS.Platform;
  /** Undefined on Windows. */
  readonly uid: number | undefined;
  /** Where the files go if there is no folder in memory: Paths.run. */
  readonly runFolder: string;
  /** `/run/user`, except in tests. */
  readonly userRunFolders?: string;
}

/** Writes the files. Throws McpRunError `access-denied`; then nothing is left. */
export function deliverFiles(secrets: ReadonlyMap<string, Secret>, place: FilePlace): DeliveredFiles {
  const base = baseFolder(place);
  removeStaleFolders(base, place.platform);
  if (secrets.size === 0) return { env: {}, remove: () => undefined };
  const folder = makeOwnFolder(base, place.platform, place.uid);
  const env: Record<string, string> = {};
  try {
    for (const [name, secret] of secrets) {
      const path = join(folder, encodeURIComponent(name));
      writeFileSync(path, secret.reveal(), { mode: 0o600, flag: "wx" });
      env[`${name}_FILE`] = path;
    }
  } catch (error) {
    removeOwnFolder(folder);
    const reason = systemErrorCode(error);
    if (reason === undefined) throw error;
    throw new McpRunError("access-denied", `Cannot write secrets to files in ${base}: ${reason}`, {
      hint: "`deliver: env`, or to make room there",
    });
  }
  return { env, remove: () => removeOwnFolder(folder) };
}

function baseFolder({ platform, uid, runFolder, userRunFolders = "/run/user" }: FilePlace): string {
  const inMemory = join(userRunFolders, String(uid));
  const usable = platform === "linux" && uid !== undefined && isOwnTmpfs(inMemory, uid);
  return usable ? join(inMemory, "mcp-run") : join(runFolder, "files");
}

function isOwnTmpfs(folder: string, uid: number): boolean {
  try {
    const found = statSync(folder);
    return found.uid === uid && (found.mode & 0o077) === 0 && statfsSync(folder).type === TMPFS;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}

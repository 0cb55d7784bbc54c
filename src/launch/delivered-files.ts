/**
 * `deliver: file`: each such secret of a generation in a 0600 file in a 0700 folder, its path in NAME_FILE.
 * In memory where /run/user/UID is a tmpfs, else beside our sockets. The folder goes with its generation;
 * what a crash has left goes at the next start.
 */
import { renameSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
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
  /**
   * Puts other values into the files of these secrets, at the same paths: who reads one finds the old value or the
   * new one. Throws McpRunError `access-denied`; then no value is half written. A secret without a file is a bug.
   */
  rewrite(secrets: ReadonlyMap<string, Secret>): void;
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
  if (secrets.size === 0) return { env: {}, rewrite: refuseUnknown({}), remove: () => undefined };
  const folder = makeOwnFolder(base, place.platform, place.uid);
  const env: Record<string, string> = {};
  try {
    for (const [name, secret] of secrets) {
      const path = join(folder, encodeURIComponent(name));
      writeNew(path, secret);
      env[`${name}_FILE`] = path;
    }
  } catch (error) {
    removeOwnFolder(folder);
    throw explained(error, base);
  }
  const check = refuseUnknown(env);
  const rewrite = (changed: ReadonlyMap<string, Secret>) => {
    check(changed);
    replaceFiles(folder, base, changed);
  };
  return { env, rewrite, remove: () => removeOwnFolder(folder) };
}

/** All are written before the first is put in place: what can fail for want of room fails with nothing changed. */
function replaceFiles(folder: string, base: string, secrets: ReadonlyMap<string, Secret>): void {
  const written: { readonly path: string; readonly next: string }[] = [];
  try {
    for (const [name, secret] of secrets) {
      const path = join(folder, encodeURIComponent(name));
      // No secret's own file has this name: a `%` in those is followed by two digits.
      const next = join(folder, `%next-${written.length}`);
      written.push({ path, next });
      writeNew(next, secret);
    }
    for (const { path, next } of written) renameSync(next, path);
  } catch (error) {
    for (const { next } of written) rmSync(next, { force: true, recursive: true });
    throw explained(error, base);
  }
}

function writeNew(path: string, secret: Secret): void {
  writeFileSync(path, secret.reveal(), { mode: 0o600, flag: "wx" });
}

function refuseUnknown(env: Environment): (secrets: ReadonlyMap<string, Secret>) => void {
  return (secrets) => {
    for (const name of secrets.keys()) {
      if (env[`${name}_FILE`] === undefined) throw new Error(`${name} has no file`);
    }
  };
}

/** What the system refused, in our words; a bug stays what it is. */
function explained(error: unknown, base: string): unknown {
  const reason = systemErrorCode(error);
  if (reason === undefined) return error;
  return new McpRunError("access-denied", `Cannot write secrets to files in ${base}: ${reason}`, {
    hint: "`deliver: env`, or to make room there",
  });
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

/**
 * Reads a regular file whole, up to a bound, together with what tells its versions and owners apart.
 * Synchronous on purpose: a launch reads two small files, and the first use of fs/promises and its threads
 * takes longer than that.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { fileError } from "./file-error.ts";

export interface FileContent {
  readonly bytes: Buffer;
  /** See stampOf. */
  readonly stamp: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Undefined if there is no such file. Throws ProviderError; `invalid` if it is longer than `maxBytes`. */
export function readFileBounded(path: string, maxBytes: number): FileContent | undefined {
  let file: number | undefined;
  try {
    // Without O_NONBLOCK a named pipe at this path would stop the process.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stats = fstatSync(file, { bigint: true });
    if (!stats.isFile()) throw new ProviderError("invalid", `${path} is not a regular file`);
    if (stats.size > maxBytes) {
      throw new ProviderError(
        "invalid",
        `${path} has ${stats.size} bytes, more than the ${maxBytes} it may have`,
      );
    }
    return {
      bytes: readFileSync(file),
      stamp: stampOf(stats),
      mode: Number(stats.mode) & 0o777,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
    };
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw fileError(error, "read", path);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Changes whenever the file is replaced or written. */
export function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

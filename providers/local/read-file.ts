/** Reads a regular file whole, up to a bound, together with what tells its versions and owners apart. */
import type { BigIntStats } from "node:fs";
import { open } from "node:fs/promises";
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
export async function readFileBounded(path: string, maxBytes: number): Promise<FileContent | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const stats = await file.stat({ bigint: true });
      if (!stats.isFile()) throw new ProviderError("invalid", `${path} is not a regular file`);
      if (stats.size > maxBytes) {
        throw new ProviderError(
          "invalid",
          `${path} has ${stats.size} bytes, more than the ${maxBytes} it may have`,
        );
      }
      return {
        bytes: await file.readFile(),
        stamp: stampOf(stats),
        mode: Number(stats.mode) & 0o777,
        uid: Number(stats.uid),
        gid: Number(stats.gid),
      };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw fileError(error, "read", path);
  }
}

/** Changes whenever the file is replaced or written. */
export function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

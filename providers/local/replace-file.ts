/**
 * Replaces a file atomically: at every moment, also after a crash or on a full disk, the path holds the whole
 * old content or the whole new one. The package write-file-atomic is not used because it takes a short write
 * (a disk that fills up in the middle) for success and then puts the cut-off file in place.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, realpath, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemErrorCode } from "../../src/errors.ts";
import { fileError } from "./file-error.ts";
import { stampOf } from "./read-file.ts";

export interface Replacement {
  readonly bytes: Uint8Array;
  readonly mode: number;
  /** Replace only a file that still has this stamp; `null`: only if there is still none. */
  readonly ifStamp?: string | null;
}

/** A draft this old belongs to a writer that was killed. */
const ABANDONED_MS = 60_000;

/** @returns false if the file is not the one that `ifStamp` names. Throws ProviderError. */
export async function replaceFile(path: string, replacement: Replacement): Promise<boolean> {
  const directory = dirname(path);
  const draft = join(directory, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    await writeDraft(draft, replacement);
    if (replacement.ifStamp !== undefined && (await currentStamp(path)) !== replacement.ifStamp) {
      await unlink(draft);
      return false;
    }
    await rename(draft, path);
  } catch (error) {
    await unlink(draft).catch(() => undefined); // It may never have been made.
    throw fileError(error, "written", path);
  }
  await persistDirectory(directory);
  await removeAbandonedDrafts(path);
  return true;
}

/** Where a symbolic link leads, so that a rewrite does not replace the link. Throws ProviderError. */
export async function behindLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return path;
    throw fileError(error, "read", path);
  }
}

/** Makes the directory, and what is missing above it, for its owner alone. Throws ProviderError. */
export async function ensurePrivateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(error, "made", path);
  }
}

async function writeDraft(draft: string, { bytes, mode }: Replacement): Promise<void> {
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function currentStamp(path: string): Promise<string | null> {
  try {
    return stampOf(await stat(path, { bigint: true }));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return null;
    throw error;
  }
}

/** Makes the rename survive a power cut; a platform or file system that can't sync a directory is let be. */
async function persistDirectory(directory: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(directory, "r");
    await handle.sync();
  } catch {
    // The new content is in place; only its durability over a power cut is up to the file system.
  } finally {
    await handle?.close();
  }
}

async function removeAbandonedDrafts(path: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `.${basename(path)}.`;
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(prefix) || !/^[0-9a-f]{12}\.tmp$/.test(name.slice(prefix.length))) continue;
    const draft = join(directory, name);
    const age = await stat(draft).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > ABANDONED_MS) await unlink(draft).catch(() => undefined); // Somebody else may have been quicker.
  }
}

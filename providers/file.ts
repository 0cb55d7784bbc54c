/**
 * `file:/path`: secret files as Docker, Kubernetes and systemd mount them. The file must be a regular one
 * that other users can't read, unless it lies where such a mount puts it. Nothing here blocks: a FIFO or a
 * device is refused before a byte is read.
 */
import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { posix, win32 } from "node:path";
import * as z from "zod/mini";
import { untilAborted } from "../src/clock.ts";
import { ProviderError, systemErrorCode } from "../src/errors.ts";
import type { FetchedSecret, ProviderContext, ProviderKind } from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";
import { shellWord } from "../src/shell-word.ts";

const MAX_BYTES = 1024 * 1024;

/** Where container runtimes and systemd mount secrets for one service, often readable for all of it. */
const SECRET_MOUNTS = ["/run/secrets/", "/var/run/secrets/", "/run/credentials/"] as const;

/** Kubelet's atomic writer: `..data` is a link to a folder with such a name; the files are links into it. */
const PROJECTED_FOLDER = /\/\.\.\d{4}_\d\d_\d\d_/;

const ABSOLUTE_PATH = /^(?:~?[/\\]|[A-Za-z]:[/\\])/;

const refSchema = z.strictObject({
  path: z
    .string()
    .check(z.refine((path) => ABSOLUTE_PATH.test(path), "the path must be absolute, or begin with ~/")),
  /** Drops one newline at the end; on unless switched off. */
  trim: z._default(z.boolean(), true),
  /** Accepts a file that others on this machine can read. */
  allowWorldReadable: z._default(z.boolean(), false),
});

type FileRef = z.infer<typeof refSchema>;

export const fileKind: ProviderKind<object, FileRef> = {
  name: "file",
  worksWithoutSettings: true,
  configSchema: z.strictObject({}),
  refSchema,
  async open(_config, context) {
    return {
      async fetch(refs, signal) {
        signal.throwIfAborted();
        const answers = Promise.all(refs.map(async (ref) => [ref, await read(ref, context)] as const));
        return new Map(await untilAborted(signal, answers));
      },
      async close() {
        // Every file is closed when it has been read.
      },
    };
  },
};

async function read(ref: FileRef, context: ProviderContext): Promise<FetchedSecret | ProviderError> {
  const path = absolutePath(ref.path, context);
  if (path === undefined) {
    return new ProviderError("invalid", `${ref.path} is no absolute path on this platform`);
  }
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK the opening of a FIFO waits for a writer.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) return new ProviderError("invalid", `${path} is not a regular file`);
    const unsafe =
      context.platform === "win32" || ref.allowWorldReadable || isSecretMount(await realpath(path))
        ? undefined
        : whoElseReads(Number(stats.mode), Number(stats.uid), Number(stats.gid));
    if (unsafe) {
      return new ProviderError("denied", `${path} can be read by ${unsafe}`, {
        hint: `chmod 600 ${shellWord(path)}, or allowWorldReadable: true at this secret`,
      });
    }
    const bytes = await readBounded(file);
    if (bytes === undefined) {
      return new ProviderError("invalid", `${path} is larger than ${MAX_BYTES / 1024 / 1024} MiB`);
    }
    if (!isUtf8(bytes)) {
      return new ProviderError("invalid", `${path} is not UTF-8 text`, {
        hint: "a text form of it, such as base64, since an environment variable can't hold these bytes",
      });
    }
    const value = bytes.toString();
    return {
      value: new Secret(ref.trim ? value.replace(/\r?\n$/, "") : value),
      version: `${timeStamp(stats.mtimeNs)}-${stats.ino}`,
      createdAt: stats.mtime,
    };
  } catch (error) {
    return failureOf(error, path);
  } finally {
    await file?.close();
  }
}

function absolutePath(path: string, { env, platform }: ProviderContext): string | undefined {
  const { isAbsolute, join, normalize } = platform === "win32" ? win32 : posix;
  const home = platform === "win32" ? env.all().USERPROFILE : env.all().HOME;
  if (/^~[/\\]/.test(path) && home) return join(home, path.slice(2));
  return isAbsolute(path) ? normalize(path) : undefined;
}

/** @param path with its links resolved */
export function isSecretMount(path: string): boolean {
  return SECRET_MOUNTS.some((mount) => path.startsWith(mount)) || PROJECTED_FOLDER.test(path);
}

/**
 * Who besides the owner can read or change a file of that mode; undefined if nobody is to be feared. A group
 * is trusted when root has set it (`root:app 0640`), or when it is the owner's private one (gid = uid).
 */
function whoElseReads(mode: number, uid: number, gid: number): string | undefined {
  if (mode & 0o006) return "every user of this machine";
  if (mode & 0o060 && uid !== 0 && gid !== uid) return `everybody in its group (${gid})`;
  return undefined;
}

/** Undefined if there is more; the size that stat gives is not trusted, since a file can grow. */
async function readBounded(file: FileHandle): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(64 * 1024), 0, 64 * 1024, null);
    if (bytesRead === 0) return Buffer.concat(chunks);
    total += bytesRead;
    if (total > MAX_BYTES) return undefined;
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

/** As finely as the file system counts. */
function timeStamp(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(ns % 1_000_000_000n).padStart(9, "0")}Z`;
}

function failureOf(error: unknown, path: string): ProviderError {
  const code = systemErrorCode(error);
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new ProviderError("missing", `there is no file ${path}`);
    case "EACCES":
    case "EPERM":
      return new ProviderError("denied", `${path} can't be opened (${code})`, {
        hint: `ls -l ${shellWord(path)} to see who may read it`,
      });
    case "EISDIR":
    case "ENXIO":
      return new ProviderError("invalid", `${path} is not a regular file`);
    case undefined:
      throw error;
    default:
      return new ProviderError("unavailable", `${path} can't be read (${code})`);
  }
}

/** Files that settings and conventions name: found by HOME, read bounded. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";

/** A token or a JWT; more is another kind of file. */
const MAX_TOKEN_BYTES = 64 * 1024;

/** Throws ProviderError for a `~/` without a home. */
export function absolutePath(path: string, { env, platform }: ProviderContext): string {
  if (!path.startsWith("~/")) return path;
  const home = platform === "win32" ? env.all().USERPROFILE : env.all().HOME;
  if (home) return join(home, path.slice(2));
  throw new ProviderError("invalid", `${path} begins with ~/, and HOME is not set`, {
    hint: "an absolute path",
  });
}

/** The file's text without blanks around it, undefined if there is no such file or nothing in it. Throws ProviderError. */
export async function readTokenFile(path: string): Promise<Secret | undefined> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_TOKEN_BYTES + 1));
      const text = buffer.toString("utf8", 0, bytesRead).trim();
      if (bytesRead <= MAX_TOKEN_BYTES && /^[\x21-\x7e]*$/.test(text)) {
        return text === "" ? undefined : new Secret(text);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === undefined) throw error;
    throw new ProviderError("denied", `can't read ${path} (${code})`, { hint: `ls -l ${path}` });
  }
  throw new ProviderError("invalid", `${path} holds no token`);
}

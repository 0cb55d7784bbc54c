/** Where the cache of a profile is. Apart from what reads and writes it, which most starts never load. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Two files may hold profiles of one name, and some file systems know no capitals. */
export function cacheFile(
  cacheFolder: string,
  profile: { readonly name: string; readonly file: string },
): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([profile.file, profile.name]))
    .digest("hex");
  return join(cacheFolder, "secrets", `${profile.name}-${digest.slice(0, 12)}.age`);
}

/** Removes the cache of a profile that no longer wants one. Throws system errors. */
export async function forgetUnwanted(file: string): Promise<void> {
  if (existsSync(file)) (await import("./document-cache.ts")).forgetCache(file);
}

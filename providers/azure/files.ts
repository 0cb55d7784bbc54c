/** Files that the settings name. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";

/** The home directory; undefined where the environment names none. */
export function homeOf({ env, platform }: ProviderContext): string | undefined {
  const all = env.all();
  return platform === "win32" ? all.USERPROFILE : all.HOME;
}

/** Puts the home directory in for a `~` at the beginning. */
export function pathOf(setting: string, context: ProviderContext): string {
  const home = homeOf(context);
  return home !== undefined && /^~[/\\]/.test(setting) ? join(home, setting.slice(2)) : setting;
}

/**
 * The whole text of a file. Throws ProviderError `invalid`.
 *
 * @param what the file's part in the settings, such as `caCert`
 */
export async function readSetting(what: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw new ProviderError("invalid", `the file of ${what} can't be read (${code})`, {
      hint: `${what}: with the path of a file that is there and readable`,
    });
  }
}

/** The files in which profiles may stand. */
import { join, resolve } from "node:path";
import { McpRunError } from "../errors.ts";
import { type ProfileFile, readProfileFile } from "./profile-file.ts";
import type { ProfileRequest } from "./request.ts";

export const MAIN_FILE = "mcp-run.yaml";

/** The file that `--config` or `$MCP_RUN_CONFIG` names; undefined if neither does. */
export function explicitFile({ configFile, env, cwd, home }: ProfileRequest): string | undefined {
  const named = configFile ?? (env.MCP_RUN_CONFIG || undefined);
  return named === undefined ? undefined : absolute(named, cwd, home);
}

/** The file that somebody has named. Throws McpRunError `profile-not-found` if it is not there. */
export async function readExplicit(path: string, request: ProfileRequest): Promise<ProfileFile> {
  const file = await readProfileFile(path, "any", request);
  if (file) return file;
  const from = request.configFile === undefined ? "the path in MCP_RUN_CONFIG" : "the path after --config";
  throw new McpRunError("profile-not-found", `Cannot load ${path}: there is no such file`, {
    hint: `another ${from.slice(4)}`,
  });
}

export function mainFile({ paths }: ProfileRequest): string {
  return join(paths.config, MAIN_FILE);
}

export function profilesFolder({ paths }: ProfileRequest): string {
  return join(paths.config, "profiles");
}

/** For files that are not needed themselves: what is wrong with them is no reason to stop. */
export async function unlessRefused<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof McpRunError) return undefined;
    throw error;
  }
}

/** Clients pass a `~` on as it stands; no shell has seen it. */
export function absolute(path: string, cwd: string, home: string): string {
  return /^~[/\\]/.test(path) ? join(home, path.slice(2)) : resolve(cwd, path);
}

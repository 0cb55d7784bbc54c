/** Whether it is worth the time to read the profile file for the bus of a fleet: most have none. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { systemErrorCode } from "../../errors.ts";
import type { CommandContext } from "../context.ts";

/**
 * True also where it can't be told: then whoever reads the file says what is wrong with it.
 *
 * @param profile its name or the path of its file; without it the file in use is meant
 */
export function mayHaveFleet(context: CommandContext, profile: string | undefined): boolean {
  const { options, env, paths, cwd, home } = context;
  const explicit = options.config ?? (env.MCP_RUN_CONFIG || undefined);
  const inUse = explicit ?? join(paths.config, "mcp-run.yaml");
  const own = profile === undefined ? [] : [join(paths.config, "profiles", `${profile}.yaml`), profile];
  return [inUse, ...own].some((path) => mentionsFleet(resolve(cwd, path.replace(/^~(?=[/\\])/, home))));
}

function mentionsFleet(path: string): boolean {
  try {
    return readFileSync(path, "utf8").includes("fleet");
  } catch (error) {
    return !["ENOENT", "ENOTDIR", "EISDIR"].includes(systemErrorCode(error) ?? "");
  }
}

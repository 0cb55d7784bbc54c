import type { ProfileRequest } from "../profile/load.ts";
import type { CommandContext } from "./context.ts";

/** What the profile room needs to know of this process to find and read profiles. */
export function profileRequest(context: CommandContext): ProfileRequest {
  const { env, cwd, home, paths, platform, uid, gid, kinds, options } = context;
  return {
    env,
    cwd,
    home,
    paths,
    platform,
    kinds,
    allowPlaintext: options.allowPlaintext,
    ...(options.config !== undefined && { configFile: options.config }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  };
}

import type { ControlPlace } from "../control/endpoint.ts";
import type { CommandContext } from "./context.ts";

/** Where the supervisors of this user meet. */
export function controlPlace({ paths, platform, uid, loginName }: CommandContext): ControlPlace {
  return { folder: paths.run, platform, uid, loginName };
}

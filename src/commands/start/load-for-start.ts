/** Loads the profile that is about to be started, and prints what is to be said about it. */
import { loadProfile } from "../../profile/load.ts";
import type { Profile } from "../../profile/profile.ts";
import type { CommandContext } from "../context.ts";
import { profileRequest } from "../profile-request.ts";

/** Throws McpRunError, as loadProfile does. */
export async function loadForStart(context: CommandContext, name: string): Promise<Profile> {
  const { profile, warnings } = await loadProfile(name, profileRequest(context));
  for (const message of warnings) context.printer.emit({ type: "warning", message });
  return profile;
}

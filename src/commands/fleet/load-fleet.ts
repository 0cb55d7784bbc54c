/** The bus of the profile file in use, for commands that can do nothing without one. */
import { McpRunError } from "../../errors.ts";
import { type FleetOfFile, loadFleet as load } from "../../profile/load.ts";
import type { CommandContext } from "../context.ts";
import { profileRequest } from "../profile-request.ts";

/** Throws McpRunError. */
export async function loadFleet(context: CommandContext): Promise<FleetOfFile> {
  const fleet = await load(profileRequest(context));
  if (fleet) return fleet;
  throw new McpRunError("profile-invalid", "Cannot reach a fleet: the profile file has no `fleet:`", {
    hint: "`fleet: { servers: tls://HOST:4222, credentials: keychain:nats }` in it, or `--config FILE`",
  });
}

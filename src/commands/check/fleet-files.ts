/** The files that the `fleet:` of a profile file names. */
import { McpRunError } from "../../errors.ts";
import { readInventory } from "../../profile/inventory.ts";
import type { FleetSettings } from "../../profile/profile.ts";
import type { CommandContext } from "../context.ts";
import { certificates } from "../fleet/credentials.ts";
import { profileRequest } from "../profile-request.ts";
import { asFinding, type Finding } from "./result.ts";

/** What is wrong with them; nothing is asked of any other machine. */
export async function checkFleetFiles(
  context: CommandContext,
  { ca, inventory }: FleetSettings,
): Promise<readonly Finding[]> {
  const readings = [
    async () => (ca === undefined ? undefined : await certificates(ca)),
    async () => readInventory(inventory, profileRequest(context)),
  ];
  const findings: Finding[] = [];
  for (const read of readings) {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof McpRunError)) throw error;
      findings.push(asFinding(error, error.message));
    }
  }
  return findings;
}

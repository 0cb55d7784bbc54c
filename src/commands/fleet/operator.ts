/** The end of the bus of whoever types a command. */
import { BusOperator } from "../../control/bus/operator.ts";
import type { FleetOfFile } from "../../profile/load.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { CommandContext } from "../context.ts";
import { certificates, fetchFleetCredentials, hideFleetCredentials, hostOf } from "./credentials.ts";

/** Rejects with McpRunError; what, why and the mend. Whoever gets it closes it. */
export async function connectOperator(
  context: CommandContext,
  { fleet, providers }: FleetOfFile,
  needles: NeedleSet,
  signal: AbortSignal,
): Promise<BusOperator> {
  const ref = fleet.operator ?? fleet.credentials;
  const credentials = await fetchFleetCredentials(context, providers, ref, needles, signal);
  hideFleetCredentials(credentials, needles);
  const ca = fleet.ca === undefined ? undefined : await certificates(fleet.ca);
  const { servers } = fleet;
  const { clock } = context;
  const options = { servers, credentials, host: hostOf(fleet), clock, ...(ca !== undefined && { ca }) };
  return BusOperator.connect(options, signal);
}

/** What stands for everybody who could have been heard over the bus, had it not failed. */
import { McpRunError } from "../../errors.ts";
import type { Acknowledgement, Holder } from "../contract.ts";

/** Nobody knows who has not been heard because of it, so it stands for them all. Throws what is no answer of the bus. */
export function lostBus(error: unknown, signal: AbortSignal): Acknowledgement {
  if (!(error instanceof McpRunError) || signal.aborted) throw error;
  const nobody = { pid: 0, profile: "?", generation: 0, canSwap: true };
  return { host: "the fleet's bus", ...nobody, state: "failed", reason: error.message };
}

/** Likewise, of those who were to hold requests. */
export function lostHolder(error: unknown, signal: AbortSignal): Holder {
  const { state: _state, ...lost } = lostBus(error, signal);
  return { ...lost, holds: false };
}

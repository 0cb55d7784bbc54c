/** What went wrong at the operator's end, as an error that names the mend. Nothing of the server's words is quoted. */
import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { McpRunError } from "../../errors.ts";
import type { Failure } from "./failure.ts";
import { isUnanswered, violationIn } from "./lack.ts";
import { isTooLong } from "./room.ts";

/** JetStream's numbers: server/errors.json of nats-server. */
const WRONG_LAST_SEQUENCE = 10071;
const STREAM_NOT_FOUND = 10059;
const CONSUMER_NOT_FOUND = 10014;
const UNAVAILABLE = 503;
/** Not for this account, not at all, and a cluster without enough of its servers. */
const OFF: readonly number[] = [10039, 10076, 10008];

/** The mend where somebody is let in who is not allowed what an operator is. */
export const OPERATOR_PERMISSIONS = "mcp-run fleet permissions --operator";

/** The server that we are on has not enough of its cluster. */
export class LostClusterError extends Error {}

/** Another operator has written meanwhile. */
export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;
}

export function isStreamMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

/**
 * It may pass by itself: a cluster that has lost a server chooses another one to speak for a stream. A reader that has
 * stopped is gone with such a server, or because the stream is; the next attempt tells which.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamApiError)
    return error.status === UNAVAILABLE || error.code === CONSUMER_NOT_FOUND;
  if (error instanceof LostClusterError || error instanceof errors.TimeoutError) return true;
  return error instanceof JetStreamError || isUnanswered(error);
}

/** @param action «read the reports», after «Cannot » */
export function refusalOf(action: string, error: unknown): McpRunError {
  const because = (code: "access-denied" | "backend-unavailable", state: string, hint: string) =>
    new McpRunError(code, `Cannot ${action} on the fleet's bus: ${state}`, { hint });
  if (error instanceof McpRunError) return error;
  const violation = violationIn(error);
  if (violation) {
    const state = `the server does not let the operator ${violation.operation === "publish" ? "publish to" : "subscribe to"} ${violation.subject}`;
    return because("access-denied", state, OPERATOR_PERMISSIONS);
  }
  const isOff =
    isUnanswered(error) ||
    error instanceof LostClusterError ||
    (error instanceof JetStreamApiError && OFF.includes(error.code));
  if (isOff)
    return because(
      "backend-unavailable",
      "JetStream is off for this account, or has too few of its servers for a leader",
      "`jetstream: enabled` in the account, or a look at the cluster",
    );
  if (isTooLong(error))
    return because(
      "access-denied",
      "a message is longer than the server takes (max_payload)",
      "`max_payload: 64KB` or more in the server's configuration",
    );
  if (isStreamMissing(error))
    return because("backend-unavailable", "its bucket and stream are not there", "mcp-run fleet setup");
  if (error instanceof JetStreamApiError)
    return because("backend-unavailable", `JetStream says no (error ${error.code})`, "mcp-run fleet setup");
  if (error instanceof errors.TimeoutError)
    return because("backend-unavailable", "no answer in time", "again in a moment");
  return because("backend-unavailable", "the connection was lost", "again in a moment");
}

/** What kept a connection from coming about. */
export function refusalToConnect({ type, reason, hint }: Failure): McpRunError {
  return new McpRunError(
    type === "refused" ? "access-denied" : "backend-unavailable",
    `Cannot reach the fleet's bus: ${reason}`,
    { hint: hint ?? "a look at the nats-server, and at `fleet.servers`" },
  );
}

/** What a server refuses to one that is connected, and who has to mend it. */
import { errors } from "@nats-io/transport-node";

export interface Lack {
  /** A state. */
  readonly reason: string;
  /** Reads well after «Try ». */
  readonly hint: string;
}

const SETUP = "mcp-run fleet setup";
const PERMISSIONS = "mcp-run fleet permissions, and its lines in the server's configuration";

/** Undefined for what passes by itself. */
export function lackOf(error: unknown): Lack | undefined {
  const violation = violationIn(error);
  if (violation) {
    const verb = violation.operation === "publish" ? "publish to" : "subscribe to";
    return { reason: `the server does not let this host ${verb} ${violation.subject}`, hint: PERMISSIONS };
  }
  if (error instanceof errors.RequestError && error.isNoResponders())
    return { reason: "the bucket mcp-run is not there, or JetStream is off", hint: SETUP };
  return undefined;
}

export function violationIn(
  error: unknown,
): InstanceType<typeof errors.PermissionViolationError> | undefined {
  if (error instanceof errors.PermissionViolationError) return error;
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof errors.PermissionViolationError ? cause : undefined;
}

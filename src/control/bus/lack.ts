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
  if (isUnanswered(error))
    return {
      reason: "JetStream is off for this account, or has no leader",
      hint: "`jetstream: enabled` in the account, or a look at the cluster",
    };
  // A server does not answer for a bucket that it does not have.
  if (error instanceof errors.TimeoutError)
    return { reason: "the server has no bucket mcp-run, or does not answer in time", hint: SETUP };
  return undefined;
}

/** What the server has refused by its permissions. */
export function violationIn(error: unknown): PermissionViolation | undefined {
  return [error, causeOf(error)].find((one) => one instanceof errors.PermissionViolationError);
}

/** Nobody listens there: JetStream is not on. */
export function isUnanswered(error: unknown): boolean {
  return [error, causeOf(error)].some((one) => one instanceof errors.RequestError && one.isNoResponders());
}

type PermissionViolation = InstanceType<typeof errors.PermissionViolationError>;

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

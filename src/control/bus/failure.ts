/**
 * Why there is no connection, or why the server has refused something, in our own words: what the library and the
 * server say can quote subjects and names. What a person has to mend is told apart from what may pass.
 */
import { errors } from "@nats-io/transport-node";
import { McpRunError, systemErrorCode } from "../../errors.ts";
import { isTooLong } from "./room.ts";

export interface Failure {
  /** `refused`: somebody has to mend something. */
  readonly type: "unreachable" | "refused";
  /** A state that names the server. */
  readonly reason: string;
  /** Reads well after «Try ». */
  readonly hint?: string;
}

class TooSlow extends Error {}

export function tooSlow(): Error {
  return new TooSlow();
}

/** @param address of the server, for people */
export function failureOf(error: unknown, address: string): Failure {
  const refused = (state: string, hint: string): Failure => ({
    type: "refused",
    reason: `${address} ${state}`,
    hint,
  });
  const unreachable = (state: string): Failure => ({ type: "unreachable", reason: `${address}: ${state}` });
  if (error instanceof McpRunError)
    return { type: "refused", reason: error.message, ...(error.hint && { hint: error.hint }) };
  if (error instanceof errors.UserAuthenticationExpiredError)
    return refused("says that the credentials have expired", "new `fleet.credentials` for this host");
  // The library takes it for a refusal; the server was only tired of waiting for us.
  const isSlow = error instanceof errors.AuthorizationError && /timeout/i.test(error.message);
  if (isSlow || error instanceof errors.TimeoutError || error instanceof TooSlow)
    return unreachable("no answer in time");
  if (error instanceof errors.AuthorizationError)
    return refused("does not accept the credentials", "`fleet.credentials` of a user that the server knows");
  if (isTooLong(error))
    return unreachable("it hung up, since a message was longer than it takes (max_payload)");
  const code = systemErrorCode(error) ?? systemErrorCode(causeOf(error));
  if (code !== undefined && CERTIFICATE.test(code))
    return refused(
      `has a certificate that can't be trusted (${code})`,
      "`fleet.ca` with the authority that signed it",
    );
  if (error instanceof Error && /support 'tls'/.test(error.message))
    return refused("does not speak TLS", "`tls { … }` in the server's configuration");
  return unreachable(code ?? "it is no NATS server, or hung up");
}

/** What OpenSSL and Node say of certificates: UNABLE_TO_VERIFY_LEAF_SIGNATURE, ERR_TLS_CERT_ALTNAME_INVALID. */
const CERTIFICATE = /CERT|SELF_SIGNED|VERIFY|ISSUER|CRL|^ERR_SSL|^ERR_TLS/;

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

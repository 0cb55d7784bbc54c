/**
 * What AWS, the network or the SDK says, turned into a ProviderError at this door. Only an error's code, its HTTP
 * status and its request id get through; the SDK's own error holds the request's signature and the answer's body.
 */
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { AwsError, type Surroundings } from "./aws-error.ts";
import { connectionFailure } from "./connection-failure.ts";
import { type Facts, serviceFailure } from "./service-failure.ts";

/** The answer is larger than any answer of this service; nobody reads on. */
export class TooMuch extends Error {}

/** What is read of an SDK error; every part may be absent or of another type. */
interface SdkError {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly requestId?: unknown };
  readonly $response?: { readonly statusCode?: unknown; readonly headers?: Record<string, unknown> };
}

/** An error of the SDK's `send`. What is of our own making already is left as it is. */
export function awsFailure(error: unknown, surroundings: Surroundings): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof TooMuch) {
    return new AwsError("invalid", "the answer is too large to be one of Secrets Manager", {
      hint: "the endpoint in the settings",
    });
  }
  const { name, message, $metadata, $response } = error as SdkError;
  const status = numberOf($response?.statusCode) ?? numberOf($metadata?.httpStatusCode);
  // The answer of a connection that broke in the middle of it has a status too.
  if (status === undefined || systemErrorCode(error) !== undefined)
    return connectionFailure(error, surroundings);
  const facts: Facts = {
    ...surroundings,
    code: plainCode(name),
    said: typeof message === "string" ? message : "",
    status,
    trace: [`HTTP ${status}`, ...requestIdOf($metadata?.requestId)].join(", "),
    retryAfterMs: retryAfter($response?.headers?.["retry-after"]),
  };
  return serviceFailure(facts) ?? strangeAnswer(facts);
}

/** One entry of `Errors[]` of BatchGetSecretValue, which says the same as an error of its own. */
export function batchFailure(
  { ErrorCode = "", Message = "" }: { ErrorCode?: string | undefined; Message?: string | undefined },
  requestId: string | undefined,
  surroundings: Surroundings,
): ProviderError {
  const facts: Facts = {
    ...surroundings,
    code: plainCode(ErrorCode),
    said: Message,
    status: 200,
    trace: ["in a batch", ...requestIdOf(requestId)].join(", "),
  };
  return serviceFailure(facts) ?? unknownFailure(facts);
}

/** Of something else than Secrets Manager, or a later one. */
function strangeAnswer(facts: Facts): AwsError {
  const { status, trace } = facts;
  if (status === 401 || status === 403) {
    return new AwsError("denied", `access is denied (${trace})`, {
      hint: "the proxy on the way, and the endpoint's policy",
    });
  }
  if (status >= 300 && status < 400) {
    return new AwsError("invalid", `it answers with a redirect, which is not followed (${trace})`, {
      hint: "the endpoint in the settings",
    });
  }
  // The SDK could not read the answer: a proxy's page, or something else that listens there.
  if (/^(?:SyntaxError|TypeError|Error|Unknown|UnknownError)?$/.test(facts.code)) {
    return new AwsError("invalid", `what answers there is not Secrets Manager (${trace})`, {
      hint: "the endpoint in the settings, and the proxy on the way",
    });
  }
  return unknownFailure(facts);
}

function unknownFailure({ code, trace }: Facts): AwsError {
  return new AwsError(
    "invalid",
    `Secrets Manager refuses with ${code || "an error without a name"} (${trace})`,
    {
      hint: "the API reference of Secrets Manager for this error",
      awsCode: code,
    },
  );
}

/** The service's word for an error, or nothing: what else stands in its place is not repeated. */
function plainCode(name: unknown): string {
  return typeof name === "string" && /^[A-Za-z]{3,64}$/.test(name) ? name : "";
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function requestIdOf(id: unknown): string[] {
  return typeof id === "string" && /^[A-Za-z0-9-]{1,64}$/.test(id) ? [`request ${id}`] : [];
}

/** RFC 9110, 10.2.3: seconds, or a date that is too rarely used to be read. */
function retryAfter(header: unknown): number | undefined {
  return typeof header === "string" && /^\d{1,4}$/.test(header) ? Number(header) * 1_000 : undefined;
}

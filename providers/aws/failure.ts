/**
 * What AWS, the network or the SDK says, turned into a ProviderError at this door. Only an error's code, its HTTP
 * status and its request id get through; the SDK's own error holds the request's signature and the answer's body.
 */
import { ProviderError, type ProviderFailure, systemErrorCode } from "../../src/errors.ts";

/** What an error has to be able to name. */
export interface Surroundings {
  readonly region: string;
  /** The profile of the shared files, where one is used. */
  readonly profile?: string | undefined;
}

/** A ProviderError that still knows AWS's own word for it (`ResourceNotFoundException`). */
export class AwsError extends ProviderError {
  readonly awsCode: string | undefined;
  /** True if asking again may help. */
  readonly isPassing: boolean;
  /** Ms that the service asked us to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(
    failure: ProviderFailure,
    reason: string,
    {
      hint,
      awsCode,
      isPassing = false,
      retryAfterMs,
    }: {
      readonly hint?: string | undefined;
      readonly awsCode?: string | undefined;
      readonly isPassing?: boolean;
      readonly retryAfterMs?: number | undefined;
    } = {},
  ) {
    super(failure, reason, hint === undefined ? {} : { hint });
    this.awsCode = awsCode;
    this.isPassing = isPassing;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The answer is larger than any answer of this service; nobody reads on. */
export class TooMuch extends Error {}

/** True for an AwsError with one of these codes. */
export function isAws(error: unknown, ...codes: readonly string[]): error is AwsError {
  return error instanceof AwsError && error.awsCode !== undefined && codes.includes(error.awsCode);
}

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
  surroundings: Surroundings,
): ProviderError {
  const facts: Facts = {
    ...surroundings,
    code: plainCode(ErrorCode),
    said: Message,
    status: 200,
    trace: "in a batch",
  };
  return serviceFailure(facts) ?? unknownFailure(facts);
}

interface Facts extends Surroundings {
  readonly code: string;
  /** The service's own sentence: looked at, never quoted. */
  readonly said: string;
  readonly status: number;
  readonly trace: string;
  readonly retryAfterMs?: number | undefined;
}

/** API reference of Secrets Manager, «Common Error Types» and the errors of each operation. */
function serviceFailure(facts: Facts): AwsError | undefined {
  const { code, said, status, region, trace, retryAfterMs } = facts;
  const fail = (failure: ProviderFailure, reason: string, hint?: string, isPassing = false) =>
    new AwsError(failure, `${reason} (${code || "no error code"}, ${trace})`, {
      hint,
      awsCode: code,
      isPassing,
      retryAfterMs,
    });
  if (/Throttling|TooManyRequests|RequestLimitExceeded|SlowDown/.test(code) || status === 429) {
    return fail("unavailable", `${region} is throttling us`, "again later, or fewer starts at once", true);
  }
  if (status >= 500) return fail("unavailable", "Secrets Manager failed", "again later", true);
  switch (code) {
    case "ResourceNotFoundException":
      return fail("missing", ...notFound(said, region));
    case "ResourceExistsException":
      return fail("conflict", "somebody else has written it meanwhile", "again");
    case "InvalidRequestException":
      return /delet/i.test(said)
        ? fail(
            "missing",
            "the secret is scheduled for deletion",
            "aws secretsmanager restore-secret, if it is still needed",
          )
        : fail("invalid", "the secret is in no state for this", "aws secretsmanager describe-secret");
    case "DecryptionFailure":
      return fail(
        "denied",
        "the secret's KMS key does not decrypt it",
        "an enabled KMS key, and kms:Decrypt for us",
      );
    case "EncryptionFailure":
      return fail(
        "denied",
        "the secret's KMS key does not encrypt it",
        "kms:GenerateDataKey for us on that key",
      );
    case "AccessDeniedException":
    case "AccessDenied":
      return fail("denied", ...refusal(said));
    case "PublicPolicyException":
      return fail("denied", "the secret's policy is public, which the account forbids", "a narrower policy");
    case "LimitExceededException":
      return fail(
        "unavailable",
        "a quota of the account is used up",
        "the quotas of Secrets Manager in the console",
      );
    case "PreconditionNotMetException":
    case "MalformedPolicyDocumentException":
    case "InvalidParameterException":
    case "InvalidNextTokenException":
    case "ValidationException":
      return fail("invalid", "Secrets Manager does not accept the request", "the ref's name and version");
    default:
      return credentialFailure(facts);
  }
}

function notFound(said: string, region: string): [string, string] {
  const version = /(staging label|VersionId)/i.exec(said)?.[1];
  if (version === undefined) {
    return [`there is no such secret in ${region}`, "its name as the console shows it, and its region"];
  }
  return version === "VersionId"
    ? ["the secret has no such version", "aws secretsmanager list-secret-version-ids"]
    : ["the secret has no value under that staging label", "aws secretsmanager put-secret-value"];
}

function refusal(said: string): [string, string] {
  if (/KMS/.test(said)) {
    return ["access to the secret's KMS key is denied", "kms:Decrypt for us in the key's policy"];
  }
  const action = /\b((?:secretsmanager|sts|kms|sso):[A-Za-z]{3,40})\b/.exec(said)?.[1];
  return action === undefined
    ? ["access is denied", "an IAM policy that allows it"]
    : [`${action} is denied`, `an IAM policy that allows ${action} on it`];
}

/** «Common Error Types» of AWS APIs, and those of STS and IAM Identity Center. */
function credentialFailure({ code, said, trace, profile }: Facts): AwsError | undefined {
  const fail = (reason: string, hint: string) =>
    new AwsError("denied", `${reason} (${code}, ${trace})`, { hint, awsCode: code });
  switch (code) {
    case "ExpiredTokenException":
    case "ExpiredToken":
    case "RequestExpired":
      return fail("the session has expired", loginHint(profile));
    case "UnrecognizedClientException":
    case "InvalidClientTokenId":
    case "InvalidAccessKeyId":
      return fail(
        "AWS does not know the access key",
        `a valid access key, and a region that the account has enabled`,
      );
    case "InvalidSignatureException":
    case "SignatureDoesNotMatch":
      return /expired|not yet current/i.test(said)
        ? fail("the clock of this machine is wrong", "setting the clock")
        : fail("the secret access key is not the one of the access key", "both keys anew");
    case "IncompleteSignature":
    case "IncompleteSignatureException":
    case "MissingAuthenticationToken":
    case "MissingAuthenticationTokenException":
      return fail(
        "the request was not signed as AWS wants it",
        "the endpoint and the credential in the settings",
      );
    case "OptInRequired":
    case "NotAuthorized":
    case "UnauthorizedException":
      return fail("the account or the session is not authorized", loginHint(profile));
    case "InvalidIdentityToken":
    case "InvalidIdentityTokenException":
    case "IDPRejectedClaim":
    case "IDPRejectedClaimException":
      return fail(
        "AWS does not accept the web identity token",
        "the trust policy of the role, and the token's audience",
      );
    case "RegionDisabledException":
      return fail("STS is not enabled in this region", "another region");
    default:
      return undefined;
  }
}

export function loginHint(profile: string | undefined): string {
  return profile === undefined ? "new credentials" : `aws sso login --profile ${profile}`;
}

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

const NO_HOST = ["ENOTFOUND", "EAI_AGAIN", "ERR_INVALID_URL"];
const TLS_CODES =
  /^(?:CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|EPROTO$)/;

/** No answer at all: the network, TLS, or a time limit of ours. */
function connectionFailure(error: unknown, { region }: Surroundings): AwsError {
  const code = systemErrorCode(error) ?? "";
  const { name } = error as SdkError;
  if (NO_HOST.includes(code)) {
    return new AwsError(
      "unavailable",
      `no host answers to the name of Secrets Manager in ${region} (${code})`,
      {
        hint: "the region as AWS writes it, such as eu-west-1, or the connection to the network",
        awsCode: code,
      },
    );
  }
  if (TLS_CODES.test(code)) {
    return new AwsError("unavailable", `its certificate can't be trusted (${code})`, {
      hint: "caCert with your company's authority, if a proxy opens TLS connections",
      awsCode: code,
    });
  }
  if (name === "TimeoutError" || name === "AbortError" || code === "ETIMEDOUT") {
    return new AwsError("unavailable", "Secrets Manager did not answer in time", {
      hint: "the endpoint, the proxy or the firewall on the way",
      isPassing: true,
      awsCode: "TimeoutError",
    });
  }
  if (code === "ECONNREFUSED") {
    return new AwsError("unavailable", `the connection is refused: nobody listens there (${code})`, {
      hint: "the endpoint in the settings, and its port",
      isPassing: true,
      awsCode: code,
    });
  }
  return new AwsError("unavailable", `the connection to Secrets Manager failed${code && ` (${code})`}`, {
    hint: "the endpoint, the proxy or the firewall on the way",
    isPassing: true,
    awsCode: code || undefined,
  });
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

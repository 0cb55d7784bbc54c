/**
 * What each error code of AWS means for us: Secrets Manager's own, those that every service has, and those of STS and
 * IAM Identity Center. The service's sentence only helps to tell two cases of one code apart; it is never quoted.
 */
import type { ProviderFailure } from "../../src/errors.ts";
import { AwsError, loginHint, type Surroundings } from "./aws-error.ts";

/** One answer of a service that is an error. */
export interface Facts extends Surroundings {
  readonly code: string;
  /** The service's own sentence: looked at, never quoted. */
  readonly said: string;
  readonly status: number;
  /** The status, the request's id: where to find it again. */
  readonly trace: string;
  readonly retryAfterMs?: number | undefined;
}

/** Undefined for a code that is not known. API reference of Secrets Manager: «Common Error Types», and each operation. */
export function serviceFailure(facts: Facts): AwsError | undefined {
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

/** The form of every error that leaves this provider, and what an error has to be able to name. */
import { ProviderError, type ProviderFailure } from "../../src/errors.ts";

/** What an error has to be able to name. */
export interface Surroundings {
  readonly region: string;
  /** The profile of the shared files, where one is used. */
  readonly profile?: string | undefined;
  /** Where it is not AWS's own for the region. */
  readonly endpoint?: string | undefined;
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

/** True for an AwsError with one of these codes. */
export function isAws(error: unknown, ...codes: readonly string[]): error is AwsError {
  return error instanceof AwsError && error.awsCode !== undefined && codes.includes(error.awsCode);
}

/** After a session has expired. */
export function loginHint(profile: string | undefined): string {
  return profile === undefined
    ? "new credentials"
    : `a new login: aws sso login --profile ${profile}, where it is one of IAM Identity Center`;
}

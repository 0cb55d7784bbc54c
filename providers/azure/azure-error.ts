/** An error of this backend: what a person reads, and what the code has to know of it. */
import { type McpRunErrorOptions, ProviderError, type ProviderFailure } from "../../src/errors.ts";

export interface AzureErrorOptions extends McpRunErrorOptions {
  /** The HTTP status, where there was an answer. */
  readonly statusCode?: number;
  /** The service's own word for it, the innermost one. */
  readonly serviceCode?: string;
  /** True if the same request may well succeed in a moment. */
  readonly isTransient?: boolean;
  /** Ms that the service asks us to wait. */
  readonly retryAfterMs?: number;
}

export class AzureError extends ProviderError {
  /** Named as in the errors of the SDK, whose poller reads it. */
  readonly statusCode: number | undefined;
  readonly serviceCode: string | undefined;
  readonly isTransient: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(failure: ProviderFailure, reason: string, options: AzureErrorOptions = {}) {
    super(failure, reason, options);
    this.statusCode = options.statusCode;
    this.serviceCode = options.serviceCode;
    this.isTransient = options.isTransient ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

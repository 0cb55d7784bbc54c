/**
 * The one error family. A failure that a user can meet is a McpRunError; anything else that is thrown
 * is a bug (exit code 70). Messages have the form «Cannot ACTION: STATE»; the hint is printed after
 * «Try ». Neither ever holds a secret value.
 */

import { constants } from "node:os";

/** What went wrong, as a class of failures; decides the exit code. */
export type ErrorCode =
  | "usage"
  | "profile-not-found"
  | "profile-invalid"
  | "backend-unavailable"
  | "access-denied"
  | "secret-invalid"
  | "command-not-found"
  | "command-not-executable"
  | "rotation-incomplete"
  | "audit-invalid"
  | "interrupted"
  | "internal";

/** design.md section 5; pinned by a test. `interrupted` is 128 + the signal's number, see InterruptedError. */
export const EXIT_CODES = {
  usage: 64,
  "profile-not-found": 66,
  "backend-unavailable": 69,
  internal: 70,
  "rotation-incomplete": 75,
  "access-denied": 77,
  "profile-invalid": 78,
  "secret-invalid": 78,
  "audit-invalid": 78,
  "command-not-executable": 126,
  "command-not-found": 127,
} as const satisfies Record<Exclude<ErrorCode, "interrupted">, number>;

/** What outweighs what: first what a retry could mend, then missing rights, then mistakes in the profile. */
const CODES_BY_WEIGHT = [
  "internal",
  "backend-unavailable",
  "access-denied",
  "profile-not-found",
  "profile-invalid",
  "secret-invalid",
  "command-not-found",
  "command-not-executable",
] as const satisfies readonly ErrorCode[];

/** The code that stands for several failures at once; undefined if none of them has a weight. */
export function worstOf(codes: Iterable<ErrorCode | undefined>): keyof typeof EXIT_CODES | undefined {
  const present = new Set(codes);
  return CODES_BY_WEIGHT.find((code) => present.has(code));
}

export interface McpRunErrorOptions {
  /** One thing to do, worded so that it reads well after «Try »; no full stop at its end. */
  readonly hint?: string;
  /** Further lines, shown below the first (a source excerpt, one line per failed secret). */
  readonly details?: readonly string[];
}

export class McpRunError extends Error {
  override readonly name: string = "McpRunError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: readonly string[];

  constructor(code: ErrorCode, message: string, options: McpRunErrorOptions = {}) {
    super(message);
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? [];
  }

  /** The process exit code that belongs to this failure. */
  get exitCode(): number {
    return this.code === "interrupted" ? 130 : EXIT_CODES[this.code];
  }
}

/** A signal arrived before there was anything to forward it to. */
export class InterruptedError extends McpRunError {
  override readonly name = "InterruptedError";
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super("interrupted", `Interrupted by ${signal}`);
    this.signal = signal;
  }

  override get exitCode(): number {
    return 128 + constants.signals[this.signal];
  }
}

/** Why a provider could not deliver one ref. */
export type ProviderFailure =
  /** The backend answered, and there is no such secret, version or field. */
  | "missing"
  /** The backend answered and refused us, or the store's key does not fit. */
  | "denied"
  /** No usable answer in time: connection, timeout, 5xx, locked keychain. */
  | "unavailable"
  /** What came back (or was asked) can't be used: not JSON, too large, corrupt store. */
  | "invalid"
  /** Somebody else has written meanwhile, or holds the candidate; nothing was changed. */
  | "conflict";

const CODE_OF_FAILURE: Record<ProviderFailure, ErrorCode> = {
  missing: "secret-invalid",
  denied: "access-denied",
  unavailable: "backend-unavailable",
  invalid: "secret-invalid",
  conflict: "rotation-incomplete",
};

/**
 * What a provider returns for a ref that it can't deliver, or throws when it can't be opened.
 * `reason` is only the state («permission denied (403)»); who asked for what is added by the resolver.
 * A provider never attaches the raw error of its SDK: it can hold tokens and bodies.
 */
export class ProviderError extends McpRunError {
  override readonly name = "ProviderError";
  readonly failure: ProviderFailure;
  readonly reason: string;

  constructor(failure: ProviderFailure, reason: string, options: McpRunErrorOptions = {}) {
    super(CODE_OF_FAILURE[failure], reason, options);
    this.failure = failure;
    this.reason = reason;
  }
}

/** The exit code that any thrown value stands for: what is not of the family is a bug. */
export function exitCodeFor(error: unknown): number {
  return error instanceof McpRunError ? error.exitCode : EXIT_CODES.internal;
}

/** The `code` of a Node system error (`ENOENT`), or undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

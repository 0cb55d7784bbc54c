/** What is remembered of a backend that fails, and what follows from it: numbers only, no files and no clock. */
import { ProviderError } from "../errors.ts";
import type { Answer } from "./answer.ts";

/** Failures in a row, over all starts, after which a backend is left alone. */
const PATIENT_FOR = 3;
const FIRST_PAUSE_MS = 15_000;
const LONGEST_PAUSE_MS = 10 * 60_000;
const MOST_TEXT = 500;

type BackendFailure = "unavailable" | "denied";

export interface BreakerState {
  /** In a row. */
  readonly failures: number;
  readonly failure: BackendFailure;
  /** Of the last failure, as its ProviderError says them; they hold no secret. */
  readonly reason: string;
  readonly hint?: string;
  /** Ms since the epoch. */
  readonly nextTryAt: number;
  /** Set if only these documents were refused, so that a profile with others may ask. */
  readonly scope?: string;
}

/** A backend that gave nothing at all, although it was asked. */
export interface WholeFailure {
  readonly error: ProviderError;
  /** True if it was refused document by document, and not as a whole. */
  readonly isByDocument: boolean;
}

/** Undefined if the backend has answered anything else than «not now» and «not you». */
export function wholeFailure(
  outcome: ReadonlyMap<unknown, Answer> | ProviderError,
): WholeFailure | undefined {
  const answers = outcome instanceof ProviderError ? [outcome] : [...outcome.values()];
  const errors = answers.filter(
    (answer) => answer instanceof ProviderError && isBackendFailure(answer.failure),
  ) as ProviderError[];
  const error = errors.find(({ failure }) => failure === "denied") ?? errors[0];
  if (!error || errors.length < answers.length) return undefined;
  return { error, isByDocument: error.failure === "denied" && !(outcome instanceof ProviderError) };
}

/** @param scope the documents that were asked for, where only they were refused */
export function afterFailure(
  previous: BreakerState | undefined,
  { failure, reason, hint }: ProviderError,
  scope: string | undefined,
  now: number,
): BreakerState {
  const failures = (previous?.failures ?? 0) + 1;
  const doublings = Math.max(failures - PATIENT_FOR, 0);
  const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(doublings, 30), LONGEST_PAUSE_MS);
  return {
    failures,
    failure: isBackendFailure(failure) ? failure : "unavailable",
    reason: reason.slice(0, MOST_TEXT),
    ...(hint !== undefined && { hint: hint.slice(0, MOST_TEXT) }),
    nextTryAt: failures < PATIENT_FOR ? now : now + pause,
    ...(scope !== undefined && { scope }),
  };
}

export type Verdict = "ask" | "try-once" | "leave-alone";

export function verdictOn(state: BreakerState | undefined, scope: string, now: number): Verdict {
  if (!state || state.failures < PATIENT_FOR) return "ask";
  if (state.scope !== undefined && state.scope !== scope) return "ask";
  const left = state.nextTryAt - now;
  // Longer than any pause: the clock was set back.
  return left > 0 && left <= LONGEST_PAUSE_MS ? "leave-alone" : "try-once";
}

/** What a start is told instead of asking the backend: the same kind of failure, and when it may be tried again. */
export function refusal(
  { failure, failures, reason, hint, nextTryAt }: BreakerState,
  now: number,
): ProviderError {
  const when = new Date(nextTryAt).toISOString().slice(11, 19);
  const left = Math.max(Math.ceil((nextTryAt - now) / 1_000), 1);
  const text = `${reason}; it has failed ${failures} times in a row and is left alone until ${when} UTC (${left} s)`;
  const check = "mcp-run check, which asks at once";
  return new ProviderError(failure, text, { hint: hint === undefined ? check : `${hint}; then ${check}` });
}

/** Undefined for anything that is not a state. */
export function parseState(text: string): BreakerState | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // A file that was cut off, or is not ours.
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const { failures, failure, reason, hint, nextTryAt, scope } = parsed as Record<string, unknown>;
  if (!isCount(failures) || !isCount(nextTryAt) || typeof reason !== "string") return undefined;
  if (!isBackendFailure(failure) || !isTextOrAbsent(hint) || !isTextOrAbsent(scope)) return undefined;
  return {
    failures,
    failure,
    reason,
    nextTryAt,
    ...(hint !== undefined && { hint }),
    ...(scope !== undefined && { scope }),
  };
}

function isBackendFailure(failure: unknown): failure is BackendFailure {
  return failure === "unavailable" || failure === "denied";
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value < 8.64e15;
}

function isTextOrAbsent(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

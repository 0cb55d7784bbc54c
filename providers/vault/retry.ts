/** Sends again where that may help and does nothing twice: full-jitter backoff within the signal. */
import { type Clock, pause } from "../../src/clock.ts";
import { type Answer, isRecord, type Outcome } from "./exchange.ts";

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 200;
/** A server that asks for a longer pause is reported instead. */
const LONGEST_PAUSE_MS = 5_000;

/** 412: a standby that has not caught up yet; it asks to be asked again. */
const PASSING = new Set([412, 429, 500, 502, 503, 504]);
/** It was not even begun, so that nothing is done twice. */
const TURNED_AWAY = 429;
/** Of these a second try gets the same. */
const LASTING_CODE =
  /CERT|SIGNED|^ERR_TLS|^ERR_SSL|^EPROTO$|^UNABLE_TO_|^TOO_LARGE$|^CLOSED$|^HPE_|^ERR_INVALID/;

/** Rejects with the signal's reason when that is aborted. */
export async function retried(
  send: () => Promise<Outcome>,
  isRepeatable: boolean,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  for (let attempt = 0; ; attempt++) {
    const outcome = await send();
    const asked = outcome.type === "answer" ? outcome.retryAfterMs : undefined;
    if (attempt + 1 >= ATTEMPTS || !mayPass(outcome, isRepeatable) || (asked ?? 0) > LONGEST_PAUSE_MS)
      return outcome;
    const pauseMs = Math.random() * FIRST_PAUSE_MS * 2 ** attempt;
    await pause(clock, Math.max(asked ?? 0, pauseMs), signal);
  }
}

function mayPass(outcome: Outcome, isRepeatable: boolean): boolean {
  if (!isRepeatable) return outcome.type === "answer" && outcome.status === TURNED_AWAY;
  if (outcome.type === "no-answer") return !LASTING_CODE.test(outcome.code);
  return PASSING.has(outcome.status) && !isSealed(outcome);
}

/** A sealed server stays so until a person comes. */
export function isSealed({ status, json }: Answer): boolean {
  return status === 503 && errorsIn(json).some((text) => /sealed/i.test(text));
}

/** What the server said; it may hold anything, so it is looked at and never shown. */
export function errorsIn(json: Answer["json"]): readonly string[] {
  const errors = isRecord(json) ? json.errors : undefined;
  return Array.isArray(errors) ? errors.filter((text) => typeof text === "string") : [];
}

/**
 * In which order, and how fast, the supervisors of a fleet take a new value: a few first, since what breaks those would
 * break all; then the rest, spread over as long as their backend needs to answer them.
 */
import { fractionOf } from "../../control/bus/entry-watch.ts";

export interface Wave {
  /** Supervisors whose fraction is below have their turn. */
  readonly upTo: number;
  /** Ms over which they spread their looks. */
  readonly overMs: number;
}

/** `few-first`; `all` where the old key works no longer, so that nobody gains by waiting; `at-once` also unspread. */
export type Pace = "few-first" | "all" | "at-once";

/** Fewer than these are told at once. */
const LEAST_FOR_WAVES = 20;
const FIRST_PART = 0.05;
const LONGEST_MS = 24 * 3_600_000;

/**
 * Looks a second that one place of a backend takes beside its other work: a third of GetSecretValue's 10,000 (AWS,
 * «Secrets Manager quotas»), 4,000 in 10 s of one vault (Azure, «Key Vault service limits»); Vault has none of its own.
 */
const RATES: Readonly<Record<string, number>> = {
  "aws-secrets-manager": 3_000,
  "azure-key-vault": 400,
  vault: 1_000,
};
const USUAL_RATE = 1_000;

/** Looks a second that take another lease: for each its engine makes an account, mostly in a database. */
export const LEASE_RATE = 100;

/** @param type that of a provider, such as `vault`; looks a second */
export function rateOf(type: string): number {
  return RATES[type] ?? USUAL_RATE;
}

/**
 * At least one wave; the last one is everybody.
 *
 * @param instances of those who are there
 * @param rate looks a second
 */
export function wavesOf(
  instances: readonly string[],
  rotation: string,
  rate: number,
  pace: Pace,
): readonly Wave[] {
  const overMs = (count: number) => Math.min(LONGEST_MS, Math.floor((count * 1_000) / rate));
  if (pace === "at-once") return [{ upTo: 1, overMs: 0 }];
  const everybody = { upTo: 1, overMs: overMs(instances.length) };
  if (pace === "all" || instances.length < LEAST_FOR_WAVES) return [everybody];
  const fractions = instances.map((instance) => fractionOf(rotation, instance)).sort((a, b) => a - b);
  const first = Math.max(1, Math.round(instances.length * FIRST_PART));
  // Between the last of the first wave and the first of the others.
  const upTo = ((fractions[first - 1] ?? 0) + (fractions[first] ?? 1)) / 2;
  return [{ upTo, overMs: overMs(first) }, everybody];
}

/** Ms over which looks for candidates are spread: an old key is abused meanwhile. As often does each who holds look again. */
const HOLD_OVER_MS = 3_000;

/** Who is asked to hold requests: so many as the backend can answer all the time. */
export function holdWave(count: number, rate: number, pace: Pace): Wave {
  if (pace === "at-once") return { upTo: 1, overMs: 0 };
  const overMs = Math.floor((count * 1_000) / rate);
  return { upTo: Math.min(1, HOLD_OVER_MS / Math.max(1, overMs)), overMs: Math.min(overMs, HOLD_OVER_MS) };
}

export function isInWave(rotation: string, instance: string, { upTo }: Wave): boolean {
  return fractionOf(rotation, instance) < upTo;
}

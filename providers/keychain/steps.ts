/**
 * Each write as the changes it makes, decided from what was read under the lock. A keychain does one item after the
 * other, so their order matters: a write that was broken off shows the old value or the new one, and the same
 * step again does what is left.
 */
import { ProviderError } from "../../src/errors.ts";
import { type CandidateMark, changedMeanwhile, heldByAnother } from "../../src/secrets/provider.ts";
import { type Promotion, type Slot, writeMark, writePromotion } from "./side-items.ts";

/** An entry and its side items. */
export interface Held {
  readonly path: string;
  readonly value: string | undefined;
  readonly previous: string | undefined;
  /** The candidate is there if its mark is. */
  readonly mark: CandidateMark | undefined;
  readonly candidate: string | undefined;
  readonly promoted: Promotion | undefined;
  nameOf(value: string): string;
}

/** `null` deletes. */
export type Change = readonly [Slot, string | null];

export interface Step<T> {
  /** In this order; none: nothing is written. */
  readonly changes: readonly Change[];
  readonly result: T;
}

interface Written {
  readonly version: string;
}

/** Of the entry; a candidate stays, it is its rotation's. */
export const REMOVAL: readonly Change[] = [
  ["value", null],
  ["previous", null],
  ["promoted", null],
  ["note", null],
];

/** The value goes first: what has no mark is looked for by nobody. */
const NO_CANDIDATE: readonly Change[] = [
  ["candidate", null],
  ["mark", null],
];

/** @param at ISO 8601 */
export function put(
  held: Held,
  value: string,
  at: string,
  onlyIf?: { readonly version: string | undefined },
): Step<Written> {
  if (onlyIf) expectCurrent(held, onlyIf.version);
  return {
    // Noted first: a note without its item is left out of the list, an item without a note is lost to it.
    changes: [
      ["note", at],
      ["value", value],
    ],
    result: { version: held.nameOf(value) },
  };
}

export function putCandidate(held: Held, value: string, mark: CandidateMark): Step<CandidateMark> {
  const present = ownMark(held, mark.rotationId);
  if (!present) {
    return {
      changes: [
        ["candidate", value],
        ["mark", writeMark(mark)],
      ],
      result: mark,
    };
  }
  if (held.candidate === value) return { changes: [], result: present };
  throw new ProviderError(
    "conflict",
    `rotation ${mark.rotationId} has put another value as its candidate already`,
    { hint: "discarding that one first" },
  );
}

/** Throws ProviderError `missing` if there is none, `conflict` if it is another's. */
export function candidateOf(held: Held, rotationId: string): string {
  const mark = ownMark(held, rotationId);
  if (mark && held.candidate !== undefined) return held.candidate;
  throw new ProviderError("missing", `there is no candidate of rotation ${rotationId}`);
}

/** @param at ISO 8601 */
export function promote(
  held: Held,
  rotationId: string,
  planned: string | undefined,
  at: string,
): Step<Written> {
  const isMarked = ownMark(held, rotationId) !== undefined;
  const { value, promoted } = held;
  const current = value === undefined ? undefined : held.nameOf(value);
  if (current !== undefined && promoted?.rotationId === rotationId && promoted.version === current) {
    return { changes: isMarked ? NO_CANDIDATE : [], result: { version: current } };
  }
  const next = candidateOf(held, rotationId);
  expectCurrent(held, planned);
  const version = held.nameOf(next);
  return {
    changes: [
      ["previous", value ?? null],
      ["promoted", writePromotion({ rotationId, version })],
      ["note", at],
      ["value", next],
      ...NO_CANDIDATE,
    ],
    result: { version },
  };
}

export function discard(held: Held, rotationId: string): Step<boolean> {
  const isMarked = ownMark(held, rotationId) !== undefined;
  // A value without a mark was left by a put that was broken off.
  const isThere = isMarked || held.candidate !== undefined;
  return { changes: isThere ? NO_CANDIDATE : [], result: isMarked };
}

/** @param at ISO 8601 */
export function restore(held: Held, version: string, planned: string, at: string): Step<Written> {
  expectCurrent(held, planned);
  const { value, previous } = held;
  if (previous === undefined || held.nameOf(previous) !== version) {
    throw new ProviderError("missing", `the keychain no longer has version ${version}`);
  }
  return {
    changes: [
      ["note", at],
      // Broken off after this one, it has lost only the value that was to be got rid of.
      ["value", previous],
      ["previous", value ?? null],
    ],
    result: { version },
  };
}

export function retire(held: Held, version: string): Step<boolean> {
  const { value, previous, path } = held;
  if (value !== undefined && held.nameOf(value) === version) {
    throw new ProviderError("invalid", `${version} is the current version of ${path}`, {
      hint: "another value as the current one first",
    });
  }
  const isThere = previous !== undefined && held.nameOf(previous) === version;
  return { changes: isThere ? [["previous", null]] : [], result: isThere };
}

function ownMark({ mark }: Held, rotationId: string): CandidateMark | undefined {
  if (mark && mark.rotationId !== rotationId) throw heldByAnother(mark);
  return mark;
}

function expectCurrent({ value, nameOf }: Held, planned: string | undefined): void {
  const current = value === undefined ? undefined : nameOf(value);
  if (current !== planned) throw changedMeanwhile(current, planned);
}

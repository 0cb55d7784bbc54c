/**
 * Answers what the gram filter can't: which needles begin at a given place, and where the end of the text
 * cuts a needle short. Needles are listed by their first 4 bytes and by their first byte, longest first.
 */
import type { Budget, NeedleTable } from "./needle-table.ts";

export interface PrefixVisitor {
  /** The longest needle that stands at `start`. */
  match?(start: number, needle: number): void;
  /** The text ends inside a needle that would begin at `start`; true ends the walk. Comes before `match`. */
  cut(start: number, needle: number): boolean;
}

/** Multiplicative hashing: 2^32 divided by the golden ratio; the upper bits of the product are the hash. */
const GOLDEN = 0x9e3779b1;
const NONE = -1;
const SLOTS_PER_NEEDLE = 32;

export class PrefixIndex {
  readonly #table: NeedleTable;
  readonly #byGram: Int32Array;
  /** Which of those lists are not empty, one bit each: a table that is small enough to be in the cache mostly. */
  readonly #isThere: Int32Array;
  readonly #gramShift: number;
  readonly #nextByGram: Int32Array;
  /** Each needle's first 4 bytes. */
  readonly #grams: Int32Array;
  readonly #byByte = new Int32Array(256).fill(NONE);
  readonly #nextByByte: Int32Array;

  /** @param table not empty */
  constructor(table: NeedleTable) {
    this.#table = table;
    const width = Math.min(20, Math.max(8, Math.ceil(Math.log2(table.count * SLOTS_PER_NEEDLE))));
    this.#byGram = new Int32Array(2 ** width).fill(NONE);
    this.#isThere = new Int32Array(2 ** (width - 5));
    this.#gramShift = 32 - width;
    this.#nextByGram = new Int32Array(table.count);
    this.#grams = new Int32Array(table.count);
    this.#nextByByte = new Int32Array(table.count);
    // Entered shortest first, each in front of the others: so the lists come out longest first.
    const order = Int32Array.from(table.lengths.keys());
    order.sort((a, b) => table.lengths[a]! - table.lengths[b]!);
    for (const needle of order) {
      const at = table.offsets[needle]!;
      const gram = table.bytes.readInt32LE(at);
      const slot = Math.imul(gram, GOLDEN) >>> this.#gramShift;
      this.#grams[needle] = gram;
      this.#nextByGram[needle] = this.#byGram[slot]!;
      this.#byGram[slot] = needle;
      this.#isThere[slot >>> 5]! |= 1 << slot;
      const first = table.bytes[at]!;
      this.#nextByByte[needle] = this.#byByte[first]!;
      this.#byByte[first] = needle;
    }
  }

  /** Visits the places from `from` up to `below`, in order; ends early if the budget runs out. */
  walk(text: Uint8Array, from: number, below: number, budget: Budget, visitor: PrefixVisitor): void {
    const isThere = this.#isThere;
    const shift = this.#gramShift;
    const belowGrams = Math.min(below, text.length - 3);
    let start = from;
    if (start < belowGrams) {
      let gram = (text[start]! << 8) | (text[start + 1]! << 16) | (text[start + 2]! << 24);
      for (; start < belowGrams; start++) {
        gram = (gram >>> 8) | (text[start + 3]! << 24);
        const slot = Math.imul(gram, GOLDEN) >>> shift;
        if (((isThere[slot >>> 5]! >>> slot) & 1) === 0) continue;
        const needle = this.#byGram[slot]!;
        if (this.#visitByGram(text, start, gram, needle, budget, visitor) || budget.left < 0) return;
      }
    }
    for (; start < below; start++) {
      const needle = this.#byByte[text[start]!]!;
      if (needle === NONE) continue;
      if (this.#visit(text, start, needle, this.#nextByByte, budget, visitor)) return;
    }
  }

  /** False if no needle begins with the 4 bytes at any place from `from` up to `below`. */
  mayBegin(text: Uint8Array, from: number, below: number): boolean {
    for (let start = from; start < below; start++) {
      const gram =
        text[start]! | (text[start + 1]! << 8) | (text[start + 2]! << 16) | (text[start + 3]! << 24);
      const slot = Math.imul(gram, GOLDEN) >>> this.#gramShift;
      if (((this.#isThere[slot >>> 5]! >>> slot) & 1) === 1) return true;
    }
    return false;
  }

  #visitByGram(
    text: Uint8Array,
    start: number,
    gram: number,
    first: number,
    budget: Budget,
    visitor: PrefixVisitor,
  ): boolean {
    let needle = first;
    while (needle !== NONE && this.#grams[needle] !== gram) {
      budget.left--;
      needle = this.#nextByGram[needle]!;
    }
    return needle !== NONE && this.#visit(text, start, needle, this.#nextByGram, budget, visitor);
  }

  /** True if the visitor wants no more. */
  #visit(
    text: Uint8Array,
    start: number,
    first: number,
    nexts: Int32Array,
    budget: Budget,
    visitor: PrefixVisitor,
  ): boolean {
    const remaining = text.length - start;
    for (let needle = first; needle !== NONE; needle = nexts[needle]!) {
      const length = this.#table.lengths[needle]!;
      const wanted = Math.min(length, remaining);
      const agreed = this.#table.agreement(needle, text, start, wanted);
      budget.left -= agreed + 1;
      if (agreed < wanted) continue;
      if (length > remaining) {
        if (visitor.cut(start, needle)) return true;
      } else {
        visitor.match?.(start, needle);
        return false;
      }
    }
    return false;
  }
}

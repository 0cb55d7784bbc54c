/**
 * Finds the needles that lie wholly inside a chunk, and long ones that its end cuts, by looking at few of its bytes:
 *
 * 1. The stride S is the largest number, up to 32, with S + 3 <= the shortest needle. So wherever a needle
 *    stands, at least one window of 4 bytes at a multiple of S lies wholly inside it.
 * 2. For each of the S ways a needle can lie to that grid, one of its windows is chosen, the one whose bytes
 *    are rarest in text, and entered into a table of flags and a list of candidates.
 * 3. The search reads one window every S bytes, four at a time, and asks the flags.
 * 4. On a hit it compares the candidates. Each occurrence is met exactly once, and so is each needle of which the
 *    chunk holds the first `reach` bytes or more.
 */
import type { Budget, NeedleTable } from "./needle-table.ts";
import type { Runs } from "./runs.ts";

/** Multiplicative hashing: 2^32 divided by the golden ratio; the upper bits of the product are the hash. */
const GOLDEN = 0x9e3779b1;

const WIDEST_STRIDE = 32;
/** With very many needles a narrower stride keeps the table small: entries = stride times needles. */
const MOST_ENTRIES = 65_536;
/** The table of flags: at most 1 byte in 64 is set, as long as it does not outgrow the processor's cache. */
const FLAGS_PER_ENTRY = 64;
const MOST_FLAGS = 2 ** 20;
/** How many windows of a needle compete for each way of lying. */
const COMPETITORS = 4;

export class GramFilter {
  readonly #table: NeedleTable;
  readonly #stride: number;
  readonly #flags: Uint8Array;
  readonly #flagShift: number;
  /**
   * The candidates: `heads` by hash gives an entry (0: none), `nexts` one with another window of the same hash, and
   * `sames` one with the same window.
   */
  readonly #heads: Int32Array;
  readonly #headShift: number;
  readonly #nexts: Int32Array;
  readonly #sames: Int32Array;
  readonly #grams: Int32Array;
  readonly #needles: Int32Array;
  /** Where in the needle the window lies. */
  readonly #offsets: Int32Array;
  /** A needle that is cut is found if so many of its bytes are there; with fewer it may be missed. */
  readonly reach: number;
  /** Where the first needle begins that the end of the chunk cuts, as far as `find` has seen; and which it is. */
  #cutAt = 0;
  #cutNeedle = 0;

  /** @param table not empty */
  constructor(table: NeedleTable) {
    this.#table = table;
    const widest = Math.min(WIDEST_STRIDE, table.shortest - 3, Math.floor(MOST_ENTRIES / table.count));
    const stride = Math.max(1, widest);
    this.#stride = stride;

    const entries = stride * table.count;
    let deepest = 0;
    this.#flags = new Uint8Array(powerOfTwo(entries * FLAGS_PER_ENTRY, 2 ** 15, MOST_FLAGS));
    this.#flagShift = 32 - Math.log2(this.#flags.length);
    this.#heads = new Int32Array(powerOfTwo(entries * 2, 2 ** 8, 2 ** 20));
    this.#headShift = 32 - Math.log2(this.#heads.length);
    this.#nexts = new Int32Array(entries + 1);
    this.#sames = new Int32Array(entries + 1);
    this.#grams = new Int32Array(entries + 1);
    this.#needles = new Int32Array(entries + 1);
    this.#offsets = new Int32Array(entries + 1);

    const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
    for (let needle = 0, entry = 0; needle < table.count; needle++) {
      for (let lie = 0; lie < stride; lie++) {
        const offset = rarestWindow(table, needle, lie, stride);
        this.#enter(++entry, view.getInt32(table.offsets[needle]! + offset, true), needle, offset);
        deepest = Math.max(deepest, offset);
      }
    }
    this.reach = deepest + 4;
  }

  #enter(entry: number, gram: number, needle: number, offset: number): void {
    const hash = Math.imul(gram, GOLDEN);
    this.#flags[hash >>> this.#flagShift] = 1;
    const head = hash >>> this.#headShift;
    let like = this.#heads[head]!;
    while (like !== 0 && this.#grams[like] !== gram) like = this.#nexts[like]!;
    if (like === 0) {
      this.#nexts[entry] = this.#heads[head]!;
      this.#heads[head] = entry;
    } else {
      this.#sames[entry] = this.#sames[like]!;
      this.#sames[like] = entry;
    }
    this.#grams[entry] = gram;
    this.#needles[entry] = needle;
    this.#offsets[entry] = offset;
  }

  /**
   * Adds every needle that lies wholly inside `chunk` to `runs`, unless the budget runs out, and tells `onCut` of the
   * first one that begins there and may go on behind it.
   */
  find(
    chunk: Uint8Array,
    runs: Runs,
    budget: Budget,
    onCut: (start: number, needle: number) => unknown,
  ): void {
    this.#cutAt = chunk.length;
    this.#search(chunk, runs, budget);
    if (this.#cutAt < chunk.length) onCut(this.#cutAt, this.#cutNeedle);
  }

  #search(chunk: Uint8Array, runs: Runs, budget: Budget): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    const flags = this.#flags;
    const shift = this.#flagShift;
    const stride = this.#stride;
    const stride2 = stride * 2;
    const stride3 = stride * 3;
    const last = chunk.length - 4;
    let at = 0;
    for (const stop = last - stride3; at <= stop; at += stride * 4) {
      const hit =
        flags[Math.imul(view.getInt32(at, true), GOLDEN) >>> shift]! |
        flags[Math.imul(view.getInt32(at + stride, true), GOLDEN) >>> shift]! |
        flags[Math.imul(view.getInt32(at + stride2, true), GOLDEN) >>> shift]! |
        flags[Math.imul(view.getInt32(at + stride3, true), GOLDEN) >>> shift]!;
      if (hit === 0) continue;
      for (let window = at; window <= at + stride3; window += stride) {
        const gram = view.getInt32(window, true);
        if (flags[Math.imul(gram, GOLDEN) >>> shift] !== 0) this.#compare(gram, window, chunk, runs, budget);
      }
      if (budget.left < 0) return;
    }
    for (; at <= last; at += stride) this.#compare(view.getInt32(at, true), at, chunk, runs, budget);
  }

  #compare(gram: number, window: number, chunk: Uint8Array, runs: Runs, budget: Budget): void {
    const { lengths } = this.#table;
    let entry = this.#heads[Math.imul(gram, GOLDEN) >>> this.#headShift]!;
    for (budget.left--; entry !== 0 && this.#grams[entry] !== gram; budget.left--)
      entry = this.#nexts[entry]!;
    for (; entry !== 0; entry = this.#sames[entry]!) {
      budget.left--;
      const needle = this.#needles[entry]!;
      const start = window - this.#offsets[entry]!;
      const length = lengths[needle]!;
      const end = start + length;
      if (start < 0) continue;
      const isCut = end > chunk.length;
      if (isCut ? start >= this.#cutAt : runs.alreadyCover(start, end)) continue;
      const wanted = isCut ? chunk.length - start : length;
      const agreed = this.#table.agreement(needle, chunk, start, wanted);
      budget.left -= agreed;
      if (agreed < wanted) continue;
      if (isCut) {
        this.#cutAt = start;
        this.#cutNeedle = needle;
      } else runs.add(start, end, needle);
    }
  }
}

/** The power of two that is at least `wanted`, within bounds that are powers of two themselves. */
function powerOfTwo(wanted: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, 2 ** Math.ceil(Math.log2(wanted))));
}

/** Where the rarest of the needle's windows at `lie`, `lie + stride`, … begins. */
function rarestWindow(table: NeedleTable, needle: number, lie: number, stride: number): number {
  const { bytes } = table;
  const from = table.offsets[needle]!;
  const last = Math.min(table.lengths[needle]! - 4, lie + (COMPETITORS - 1) * stride);
  if (last < lie + stride) return lie;
  let rarest = lie;
  let least = Number.POSITIVE_INFINITY;
  for (let offset = lie; offset <= last; offset += stride) {
    const at = from + offset;
    const a = bytes[at]!;
    const b = bytes[at + 1]!;
    const c = bytes[at + 2]!;
    const d = bytes[at + 3]!;
    let commonness = COMMONNESS[a]! + COMMONNESS[b]! + COMMONNESS[c]! + COMMONNESS[d]!;
    if (a === b && b === c && c === d) commonness += COMMON_REPEAT;
    if (commonness < least) {
      least = commonness;
      rarest = offset;
    }
    if (least <= RARE_ENOUGH) break;
  }
  return rarest;
}

/** The sum for a window of capitals and digits, about: it pays no longer to look for a rarer one. */
const RARE_ENOUGH = 18;

/** Rulers and padding (`----`, `0000`) are more common than their bytes. */
const COMMON_REPEAT = 20;

/** How common each byte is in logs and prose, roughly: 0 is rare. */
const COMMONNESS = new Uint8Array(256);
for (const [bytes, weight] of [
  [" etaoinsrhl", 8],
  ["dcumfpgwybvk\n.,:/-_=\"'", 6],
  ["0123456789jxqz", 4],
  ["ABCDEFGHIJKLMNOPQRSTUVWXYZ[](){}", 3],
] as const) {
  for (const character of bytes) COMMONNESS[character.charCodeAt(0)] = weight;
}

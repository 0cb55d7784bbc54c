/** All needles of one revision, laid out end to end in one array, so that searching touches little memory. */

export interface Needle {
  readonly bytes: Uint8Array;
  /** The name of the secret, as the mask shows it. */
  readonly label: string;
}

/** The search reads 4 bytes at a time. */
const SHORTEST_NEEDLE = 4;

export class NeedleTable {
  readonly count: number;
  readonly bytes: Buffer;
  /** Where each needle begins in `bytes`, and how long it is. */
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  readonly labels: readonly string[];
  readonly shortest: number;
  readonly longest: number;

  /** @param needles without duplicates, each at least SHORTEST_NEEDLE bytes long */
  constructor(needles: readonly Needle[]) {
    this.count = needles.length;
    this.offsets = new Int32Array(needles.length);
    this.lengths = new Int32Array(needles.length);
    this.labels = needles.map((needle) => needle.label);
    let total = 0;
    let shortest = Number.POSITIVE_INFINITY;
    let longest = 0;
    for (const [index, { bytes }] of needles.entries()) {
      if (bytes.length < SHORTEST_NEEDLE) throw new Error(`needle ${index} is shorter than 4 bytes`);
      this.offsets[index] = total;
      this.lengths[index] = bytes.length;
      total += bytes.length;
      shortest = Math.min(shortest, bytes.length);
      longest = Math.max(longest, bytes.length);
    }
    this.shortest = shortest;
    this.longest = longest;
    this.bytes = Buffer.allocUnsafe(total);
    for (const [index, { bytes }] of needles.entries()) this.bytes.set(bytes, this.offsets[index]);
  }

  /** The needle's bytes, not copied. */
  needle(index: number): Buffer {
    const from = this.offsets[index]!;
    return this.bytes.subarray(from, from + this.lengths[index]!);
  }

  /** How many of the first `length` bytes of a needle stand in `text` from `at` on. */
  agreement(index: number, text: Uint8Array, at: number, length: number): number {
    const { bytes } = this;
    const from = this.offsets[index]!;
    let agreed = 0;
    while (agreed < length && bytes[from + agreed] === text[at + agreed]) agreed++;
    return agreed;
  }
}

/** How many byte comparisons a search may still spend; below zero it gives up. */
export interface Budget {
  left: number;
}

/**
 * Hides every needle in a stream of bytes. However the stream is cut into chunks, what comes out is the
 * stream with the union of all occurrences of all needles masked, each unbroken stretch by one mask.
 * Held back is only the longest suffix that could still become a needle, and there is no timer.
 */
import { ROOT } from "./automaton.ts";
import { Matcher } from "./matcher.ts";
import type { Budget } from "./needle-table.ts";
import { Runs } from "./runs.ts";

/** Where a scrubber gets its needles; asked before each chunk, so the set may grow while a stream runs. */
export interface NeedleSource {
  matcher(): Matcher;
  /** To be called by streams each time that a mask begins. */
  readonly onMasked?: () => void;
}

/** At the end of a stream, a piece of a secret is masked from this many bytes on, or from half of it. */
const LONG_PIECE = 8;

/** Which of the three searches does the work; changes the speed, never the outcome. Tests hand in small numbers. */
export interface Tuning {
  /** Up to so many bytes a chunk is searched byte by byte. */
  readonly smallChunk: number;
  /** Likewise the first so many bytes that come in chunks of at most 2 KiB: they need not wait for the filter. */
  readonly firstBytes: number;
  /** The first two searches may spend 8 comparisons for each byte that comes in, saved up to this many. */
  readonly comparisons: number;
  /** When they are spent, the automaton takes over for so many bytes. */
  readonly automatonBytes: number;
}

const COMPARISONS_PER_BYTE = 8;
const TUNING: Tuning = {
  smallChunk: 100,
  firstBytes: 65_536,
  comparisons: 1_048_576,
  automatonBytes: 262_144,
};
/** A chunk above this is worth the making of a filter. */
const LARGE_CHUNK = 2048;

/** Bytes by which the beginnings of needles are told apart. */
const GRAM = 4;

const NOTHING: readonly Uint8Array[] = [];
const NO_NEEDLES = new Matcher([]);

export class Scrubber {
  readonly #source: NeedleSource;
  #matcher = NO_NEEDLES;
  /** The first `#heldLength` bytes are held: a proper prefix of `#heldNeedle`, if that is known. */
  #held = Buffer.alloc(0);
  #heldLength = 0;
  #heldNeedle: number | undefined;
  readonly #runs = new Runs();
  readonly #onFound: ((label: string) => void) | undefined;
  readonly #tuning: Tuning;
  readonly #budget: Budget;
  /** What `firstBytes` leaves. */
  #firstBytes: number;
  /** Bytes that the automaton will still read, and its node once it has read what is held. */
  #automatonBytes = 0;
  #node: number | undefined;

  /** `onFound` is called with the name of what was found, each time that a mask begins. */
  constructor(source: NeedleSource, tuning: Tuning = TUNING, onFound?: (label: string) => void) {
    this.#source = source;
    this.#onFound = onFound;
    this.#tuning = tuning;
    this.#firstBytes = tuning.firstBytes;
    this.#budget = { left: tuning.comparisons };
  }

  /** How many bytes wait for what comes next; never more than the longest needle. */
  get heldBytes(): number {
    return this.#heldLength;
  }

  /**
   * Takes the next chunk and gives what is certain by now. Where nothing is hidden, the pieces are the chunk
   * itself or parts of it, not copies: use them before the chunk's memory is used again.
   */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    if (chunk.length === 0) return NOTHING;
    this.#takeNeedles();
    if (this.#heldNeedle !== undefined && this.#continues(chunk, this.#heldNeedle)) {
      this.#runs.moveOrigin(chunk.length, -this.#heldLength);
      this.#hold(chunk);
      return NOTHING;
    }
    const decided = this.#search(chunk);
    return this.#release(chunk, decided);
  }

  /** Ends the stream: gives what was held, masked where it is a long piece of a secret. */
  end(): readonly Uint8Array[] {
    this.#takeNeedles();
    if (this.#heldLength === 0) return NOTHING;
    if (!this.#matcher.isEmpty) this.#searchHeld();
    return this.#release(new Uint8Array(0), 0);
  }

  #takeNeedles(): void {
    const matcher = this.#source.matcher();
    if (matcher === this.#matcher) return;
    this.#matcher = matcher;
    this.#heldNeedle = undefined;
    this.#node = undefined;
    this.#runs.dropPending();
  }

  /** True if, with the whole chunk, what is held is still only a part of the needle. */
  #continues(chunk: Uint8Array, needle: number): boolean {
    const { table } = this.#matcher;
    if (this.#heldLength + chunk.length >= table.lengths[needle]!) return false;
    const from = table.offsets[needle]! + this.#heldLength;
    for (let at = 0; at < chunk.length; at++) if (chunk[at] !== table.bytes[from + at]) return false;
    return true;
  }

  /**
   * Puts every match that is certain into the runs.
   * @returns where the part begins that must be held; negative if in what is held already
   */
  #search(chunk: Uint8Array): number {
    const matcher = this.#matcher;
    this.#heldNeedle = undefined;
    if (matcher.isEmpty) return chunk.length;
    const income = chunk.length * COMPARISONS_PER_BYTE;
    this.#budget.left = Math.min(this.#tuning.comparisons, this.#budget.left + income);
    if (this.#automatonBytes <= 0) {
      this.#node = undefined;
      const decided = this.#searchByGrams(chunk);
      if (this.#budget.left >= 0 || !matcher.canAffordAutomaton) return decided;
      this.#automatonBytes = this.#tuning.automatonBytes;
      this.#heldNeedle = undefined;
    }
    this.#automatonBytes -= chunk.length;
    return this.#searchByAutomaton(chunk);
  }

  #searchByGrams(chunk: Uint8Array): number {
    const { table, prefixes } = this.#matcher;
    const runs = this.#runs;
    const budget = this.#matcher.canAffordAutomaton ? this.#budget : { left: Number.POSITIVE_INFINITY };
    const held = this.#heldLength;
    let decided = chunk.length;
    const hide = (start: number, needle: number) =>
      runs.add(start - held, start - held + table.lengths[needle]!, needle);
    const holdFrom = (start: number, needle: number) => {
      decided = start;
      this.#heldNeedle = needle;
      return true;
    };
    // 1. Needles that begin in what is held; in a small chunk, all needles.
    const isSmall = this.#isSmall(chunk.length);
    if (isSmall || (held > 0 && this.#mayGoOn(chunk))) {
      const reach = isSmall ? chunk.length : table.longest - 1;
      const seam = held > 0 ? Buffer.concat([this.#held.subarray(0, held), chunk.subarray(0, reach)]) : chunk;
      budget.left -= held;
      prefixes.walk(seam, 0, isSmall ? seam.length : held, budget, {
        match: hide,
        cut: (start, needle) => holdFrom(start - held, needle),
      });
      if (decided < chunk.length || isSmall) return decided;
    }
    // 2. Needles that lie inside the chunk, or of which it holds a long beginning.
    const { filter } = this.#matcher;
    filter.find(chunk, runs, budget, holdFrom);
    // 3. A shorter beginning of a needle at the end of the chunk.
    const tail = Math.max(0, chunk.length - Math.min(filter.reach, table.longest) + 1);
    if (decided >= tail) prefixes.walk(chunk, tail, chunk.length, budget, { cut: holdFrom });
    return decided;
  }

  #isSmall(length: number): boolean {
    if (length <= this.#tuning.smallChunk) return true;
    if (this.#firstBytes <= 0 || length > LARGE_CHUNK) return false;
    this.#firstBytes -= length;
    return true;
  }

  /** False if the first bytes of the chunk show that no needle begins in what is held. */
  #mayGoOn(chunk: Uint8Array): boolean {
    const held = this.#heldLength;
    if (chunk.length < GRAM - 1) return true;
    this.#reserve(held + GRAM - 1);
    for (let at = 0; at < GRAM - 1; at++) this.#held[held + at] = chunk[at]!;
    return this.#matcher.prefixes.mayBegin(this.#held, 0, held);
  }

  #searchByAutomaton(chunk: Uint8Array): number {
    const { automaton } = this.#matcher;
    const held = this.#heldLength;
    this.#node ??= automaton.read(this.#held.subarray(0, held), ROOT, -held, this.#runs);
    this.#node = automaton.read(chunk, this.#node, 0, this.#runs);
    return chunk.length - automaton.depth(this.#node);
  }

  /** The last search: also what the end of the stream cuts short counts, if it is long enough. */
  #searchHeld(): void {
    const { table, prefixes } = this.#matcher;
    const length = this.#heldLength;
    const text = this.#held.subarray(0, length);
    const budget = { left: Number.POSITIVE_INFINITY };
    prefixes.walk(text, 0, length, budget, {
      match: (start, needle) =>
        this.#runs.add(start - length, start - length + table.lengths[needle]!, needle),
      cut: () => false,
    });
    prefixes.walk(text, 0, length, budget, {
      cut: (start, needle) => {
        const piece = length - start;
        if (piece < LONG_PIECE && piece * 2 < table.lengths[needle]!) return false;
        this.#runs.add(start - length, 0, needle);
        return true;
      },
    });
  }

  /** Gives everything before `decided`, masked by the runs, and holds the rest. */
  #release(chunk: Uint8Array, decided: number): readonly Uint8Array[] {
    const pieces: Uint8Array[] = [];
    const held = this.#heldLength;
    let clear = -held;
    for (const run of this.#runs.sorted) {
      if (run.start >= decided) break;
      if (!run.shown) {
        this.#pass(chunk, clear, run.start, pieces);
        pieces.push(this.#matcher.maskOf(run.needle));
        this.#onFound?.(this.#matcher.table.labels[run.needle]!);
      }
      clear = Math.min(run.end, decided);
    }
    this.#pass(chunk, clear, decided, pieces);
    this.#runs.moveOrigin(chunk.length, decided);
    this.#holdFrom(chunk, decided);
    return pieces.length > 2 ? [Buffer.concat(pieces)] : pieces;
  }

  /** Adds the bytes between two offsets as they are: those that were held as a copy, those of the chunk not. */
  #pass(chunk: Uint8Array, from: number, to: number, pieces: Uint8Array[]): void {
    const held = this.#heldLength;
    if (from < 0 && from < to) {
      pieces.push(Buffer.from(this.#held.subarray(held + from, held + Math.min(to, 0))));
    }
    const start = Math.max(from, 0);
    if (start >= to) return;
    pieces.push(start === 0 && to === chunk.length ? chunk : chunk.subarray(start, to));
  }

  #holdFrom(chunk: Uint8Array, decided: number): void {
    const held = this.#heldLength;
    if (decided < 0) {
      if (decided > -held) this.#held.copyWithin(0, held + decided, held);
      this.#heldLength = -decided;
      this.#hold(chunk);
    } else {
      this.#heldLength = 0;
      if (decided < chunk.length) this.#hold(chunk.subarray(decided));
    }
  }

  /** Appends to what is held, as a copy: the caller may use the chunk's memory again. */
  #hold(bytes: Uint8Array): void {
    const length = this.#heldLength + bytes.length;
    this.#reserve(length);
    this.#held.set(bytes, this.#heldLength);
    this.#heldLength = length;
  }

  #reserve(length: number): void {
    if (length <= this.#held.length) return;
    const larger = Buffer.allocUnsafe(length * 2);
    larger.set(this.#held.subarray(0, this.#heldLength));
    this.#held = larger;
  }
}

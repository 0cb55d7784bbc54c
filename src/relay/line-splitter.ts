/**
 * Bytes in, whole lines out, byte for byte, however they were cut. Lines of one chunk stay together in one
 * buffer and nothing large is copied. A line above `maxLineBytes` is discarded as it comes, while its id is
 * looked for, and reported once; the lines around it are intact. Holds at most `maxLineBytes`.
 */
import { EnvelopeScanner } from "./envelope-scanner.ts";
import { HeldBytes } from "./held-bytes.ts";
import { Line, type OverlongLine } from "./line.ts";

const NEWLINE = 0x0a;
/** A line's end is looked for by hand for so many bytes before a native search pays. */
const NEAR = 128;
const NOTHING: readonly Buffer[] = [];

export interface LineSplitterOptions {
  /** Bytes that a line may have, its newline included. */
  readonly maxLineBytes: number;
  /** Sees every whole line, in order, and says what comes out: the line, nothing, or other whole lines. */
  readonly onLine?: ((line: Line) => boolean | readonly Buffer[]) | undefined;
  readonly onOverlong?: ((line: OverlongLine) => void) | undefined;
}

export class LineSplitter {
  readonly #maxLineBytes: number;
  readonly #onLine: LineSplitterOptions["onLine"];
  readonly #onOverlong: ((line: OverlongLine) => void) | undefined;
  readonly #held = new HeldBytes();
  /** Set while an overlong line is being discarded. */
  #discarding: { readonly scanner: EnvelopeScanner; length: number } | undefined;

  constructor(options: LineSplitterOptions) {
    this.#maxLineBytes = options.maxLineBytes;
    this.#onLine = options.onLine;
    this.#onOverlong = options.onOverlong;
  }

  /** The bytes of all lines that this chunk completes, in as few buffers as can be; the rest is held. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    /** What lies before this has been emitted, dropped or discarded; from here to `at` are lines to emit. */
    let emitFrom = 0;
    let at = 0;
    for (;;) {
      const newline = this.#newlineIn(chunk, at);
      if (newline < 0) break;
      const end = newline + 1;
      const head = this.#held.length > 0 ? this.#held.take() : NOTHING;
      const verdict = !this.#isOverlong(head, chunk, at, end) && this.#judge(head, chunk, at, end);
      if (verdict === true) {
        for (const piece of head) out.push(piece);
      } else {
        if (at > emitFrom) out.push(chunk.subarray(emitFrom, at));
        emitFrom = end;
        if (verdict) for (const piece of verdict) out.push(piece);
      }
      at = end;
    }
    if (at > emitFrom) out.push(emitFrom === 0 && at === chunk.length ? chunk : chunk.subarray(emitFrom, at));
    if (at < chunk.length) this.#hold(chunk.subarray(at));
    return out;
  }

  /** Bytes of the line that has begun and has no newline yet; at the end of the stream, its torn tail. */
  get tornBytes(): number {
    return this.#discarding?.length ?? this.#held.length;
  }

  /** Where no line has to be looked at by itself, all lines of the chunk count as one. */
  #newlineIn(chunk: Buffer, at: number): number {
    const isFirst = this.#held.length > 0 || this.#discarding !== undefined;
    const mustSeeEach = isFirst || this.#onLine !== undefined || chunk.length - at > this.#maxLineBytes;
    if (mustSeeEach) return newlineFrom(chunk, at);
    const last = chunk.lastIndexOf(NEWLINE);
    return last < at ? -1 : last;
  }

  #judge(head: readonly Buffer[], chunk: Buffer, start: number, end: number): boolean | readonly Buffer[] {
    return this.#onLine === undefined || this.#onLine(new Line(head, chunk, start, end));
  }

  /** True if the line that ends here is too long; then it has been reported. */
  #isOverlong(head: readonly Buffer[], chunk: Buffer, start: number, end: number): boolean {
    if (this.#discarding === undefined) {
      let length = end - start;
      for (const piece of head) length += piece.length;
      if (length <= this.#maxLineBytes) return false;
      this.#discard(head);
    }
    this.#discard([chunk.subarray(start, end)]);
    const { scanner, length } = this.#discarding!;
    this.#discarding = undefined;
    this.#onOverlong?.({ length, envelope: scanner.finish() });
    return true;
  }

  #hold(rest: Buffer): void {
    if (this.#discarding === undefined) {
      this.#held.push(rest);
      if (this.#held.length > this.#maxLineBytes) this.#discard(this.#held.take());
    } else {
      this.#discard([rest]);
    }
  }

  #discard(pieces: readonly Buffer[]): void {
    this.#discarding ??= { scanner: new EnvelopeScanner(), length: 0 };
    for (const piece of pieces) {
      this.#discarding.scanner.push(piece);
      this.#discarding.length += piece.length;
    }
  }
}

function newlineFrom(chunk: Buffer, from: number): number {
  const near = Math.min(from + NEAR, chunk.length);
  for (let at = from; at < near; at++) if (chunk[at] === NEWLINE) return at;
  return near === chunk.length ? -1 : chunk.indexOf(NEWLINE, near);
}

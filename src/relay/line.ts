/**
 * One whole line as it came in: its bytes may lie in several buffers, which are joined only if somebody
 * asks for them. Valid for as long as it is wanted; the bytes must not be changed.
 */
import type { Envelope } from "./envelope.ts";
import { readEnvelopeOf } from "./read-envelope.ts";

export class Line {
  readonly #head: readonly Buffer[];
  readonly #tail: Buffer;
  readonly #start: number;
  readonly #end: number;
  #envelope: Envelope | undefined;

  /** The line is `head`, then `tail[start..end)`; its newline is the last byte. */
  constructor(head: readonly Buffer[], tail: Buffer, start = 0, end = tail.length) {
    this.#head = head;
    this.#tail = tail;
    this.#start = start;
    this.#end = end;
  }

  /** What the line is; read when first asked for. */
  get envelope(): Envelope {
    this.#envelope ??= readEnvelopeOf(this.#head, this.#tail, this.#start, this.#end);
    return this.#envelope;
  }

  /** Bytes, its newline included. */
  get length(): number {
    return this.#head.reduce((sum, piece) => sum + piece.length, this.#end - this.#start);
  }

  /** The whole line in one buffer; a copy if it came in several pieces. */
  get bytes(): Buffer {
    const tail = this.#tail.subarray(this.#start, this.#end);
    return this.#head.length === 0 ? tail : Buffer.concat([...this.#head, tail]);
  }
}

/** A line that was longer than the bound: its bytes are gone, only this is known. */
export interface OverlongLine {
  /** Bytes with the newline. */
  readonly length: number;
  /** `opaque` if no id or method was found. */
  readonly envelope: Envelope;
}

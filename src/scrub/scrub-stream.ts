/** The scrubber as a Node stream for pipes, and as a function for texts of our own. */
import { Transform, type TransformCallback } from "node:stream";
import { type NeedleSource, Scrubber } from "./scrubber.ts";

/** Two chunks as a pipe delivers them. */
const HIGH_WATER_MARK = 131_072;

/** Hides the needles in what is written to it; use it with `pipeline`, which passes errors on. */
export class ScrubStream extends Transform {
  readonly #scrubber: Scrubber;

  constructor(needles: NeedleSource) {
    super({ highWaterMark: HIGH_WATER_MARK });
    this.#scrubber = new Scrubber(needles, undefined, needles.onMasked);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (const piece of this.#scrubber.push(chunk)) this.push(piece);
    done();
  }

  override _flush(done: TransformCallback): void {
    for (const piece of this.#scrubber.end()) this.push(piece);
    done();
  }
}

/**
 * Hides the needles in a whole text: a log line of ours, what another program wrote to stderr. As at the
 * end of a stream, a long piece of a secret at the end of the text is hidden too: it may have been cut.
 */
export function scrubText(text: string, needles: NeedleSource): string {
  const scrubber = new Scrubber(needles);
  return Buffer.concat([...scrubber.push(Buffer.from(text)), ...scrubber.end()]).toString();
}

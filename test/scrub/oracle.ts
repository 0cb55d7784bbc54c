/**
 * What the scrubber must give, worked out by brute force over the whole stream: mark every byte of every
 * occurrence of every needle, then put one mask in place of each unbroken marked stretch.
 */
import { Matcher } from "../../src/scrub/matcher.ts";
import type { Needle } from "../../src/scrub/needle-table.ts";
import { type NeedleSource, Scrubber, type Tuning } from "../../src/scrub/scrubber.ts";

/** For each needle, the offset from which its occurrences count: it was not known before. */
export type KnownFrom = number[];

export function maskedByBruteForce(stream: Buffer, needles: readonly Needle[], known?: KnownFrom): Buffer {
  const matcher = new Matcher(needles);
  const marked = new Uint8Array(stream.length);
  const longestAt = new Map<number, { index: number; length: number }>();
  const mark = (start: number, end: number, index: number) => {
    marked.fill(1, start, end);
    const length = end - start;
    if (length > (longestAt.get(start)?.length ?? 0)) longestAt.set(start, { index, length });
  };
  for (const [index, { bytes }] of needles.entries()) {
    const from = known?.[index] ?? 0;
    for (let at = stream.indexOf(bytes, from); at >= 0; at = stream.indexOf(bytes, at + 1)) {
      mark(at, at + bytes.length, index);
    }
  }
  markCutPiece(stream, needles, known, mark);

  const out: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const start = at;
    const hidden = marked[at] === 1;
    while (at < stream.length && (marked[at] === 1) === hidden) at++;
    out.push(hidden ? matcher.maskOf(longestAt.get(start)!.index) : stream.subarray(start, at));
  }
  return Buffer.concat(out);
}

/** A piece of a needle at the end of the stream is hidden if it has 8 bytes or half of the needle. */
function markCutPiece(
  stream: Buffer,
  needles: readonly Needle[],
  known: KnownFrom | undefined,
  mark: (start: number, end: number, index: number) => void,
): void {
  for (let start = 0; start < stream.length; start++) {
    const piece = stream.length - start;
    let longest = -1;
    for (const [index, { bytes }] of needles.entries()) {
      if (start < (known?.[index] ?? 0)) continue;
      const isLong = piece >= 8 || piece * 2 >= bytes.length;
      if (!isLong || bytes.length <= piece || stream.compare(bytes, 0, piece, start) !== 0) continue;
      if (longest < 0 || bytes.length >= needles[longest]!.bytes.length) longest = index;
    }
    if (longest >= 0) {
      mark(start, stream.length, longest);
      return;
    }
  }
}

/** Fixed needles, each called after its place in the list unless it has a name. */
export function fixedNeedles(needles: readonly Needle[]): NeedleSource {
  const matcher = new Matcher(needles);
  return { matcher: () => matcher };
}

export function named(...values: readonly (string | Uint8Array)[]): Needle[] {
  return values.map((value, index) => ({ bytes: Buffer.from(value), label: `N${index}` }));
}

/** Feeds the chunks, each in memory that is overwritten afterwards, and gives all that came out. */
export function scrubbed(source: NeedleSource, chunks: readonly Uint8Array[], tuning?: Tuning): Buffer {
  const scrubber = new Scrubber(source, tuning);
  const out: Buffer[] = [];
  const memory = Buffer.alloc(Math.max(0, ...chunks.map((chunk) => chunk.length)));
  for (const chunk of chunks) {
    const reused = memory.subarray(0, chunk.length);
    reused.set(chunk);
    for (const piece of scrubber.push(reused)) out.push(Buffer.from(piece));
    reused.fill(0x58);
  }
  for (const piece of scrubber.end()) out.push(Buffer.from(piece));
  return Buffer.concat(out);
}

/** Whole, byte by byte, and cut in two at every place. */
export function* everyCut(stream: Buffer): Generator<Buffer[]> {
  yield [stream];
  yield [...stream].map((byte) => Buffer.from([byte]));
  for (let at = 1; at < stream.length; at++) yield [stream.subarray(0, at), stream.subarray(at)];
}

/** Cuts the stream into chunks of the given lengths, over and over. */
export function chunked(stream: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < stream.length; turn++) {
    const length = lengths.length === 0 ? stream.length : lengths[turn % lengths.length]!;
    chunks.push(stream.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

/**
 * Reads the envelope of one line; bytes are looked at, never re-serialised. A long line is taken at its word: if
 * both of its ends are those of a message, what lies between is not checked to be JSON, nor to hide a key.
 */
import type { Envelope } from "./envelope.ts";
import { EnvelopeScanner } from "./envelope-scanner.ts";
import { readShortLine } from "./short-line.ts";
import { trailingMembers } from "./trailing-members.ts";

/** Up to so many bytes a line is read at once, without the scanner's notes for the next piece. */
const SHORT = 512;
/** From so many bytes on a message is read from both of its ends, and what lies between them is not. */
const LONG = 4096;
/** Bytes of each end in which everything of interest has to stand. */
const END = 1024;

const scanner = new EnvelopeScanner();

/** Reads one message; a newline, CRLF or byte order mark around it does no harm. */
export function readEnvelope(line: Buffer): Envelope {
  return readEnvelopeOf([], line, 0, line.length);
}

/** The same for a line that lies in several buffers: `head`, then `tail[start..end)`. */
export function readEnvelopeOf(head: readonly Buffer[], tail: Buffer, start: number, end: number): Envelope {
  if (head.length === 0 && end - start < SHORT) {
    const envelope = readShortLine(tail, start, end);
    if (envelope) return envelope;
  }
  scanner.reset();
  let length = end - start;
  for (const piece of head) length += piece.length;
  if (length >= LONG) {
    const envelope = readLong(head, tail, start, end);
    if (envelope) return envelope;
    scanner.reset();
  }
  for (const piece of head) scanner.push(piece);
  scanner.push(tail, start, end);
  return scanner.finish();
}

/** Undefined if both ends alone don't tell what it is. */
function readLong(head: readonly Buffer[], tail: Buffer, start: number, end: number): Envelope | undefined {
  const first = head[0];
  if (first) scanner.push(first, 0, Math.min(first.length, END));
  else scanner.push(tail, start, Math.min(end, start + END));
  if (!scanner.isInNestedValue) return undefined;
  const members = trailingMembers(tail, Math.max(start, end - END), end);
  return members && scanner.finishWith(members);
}

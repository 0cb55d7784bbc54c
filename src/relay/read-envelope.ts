/** Reads the envelope of one line; bytes are looked at, never re-serialised. */
import type { Envelope } from "./envelope.ts";
import { EnvelopeScanner } from "./envelope-scanner.ts";

const scanner = new EnvelopeScanner();

/** Reads one message; a newline, CRLF or byte order mark around it does no harm. */
export function readEnvelope(line: Buffer): Envelope {
  return readEnvelopeOf([], line, 0, line.length);
}

/** The same for a line that lies in several buffers: `head`, then `tail[start..end)`. */
export function readEnvelopeOf(head: readonly Buffer[], tail: Buffer, start: number, end: number): Envelope {
  scanner.reset();
  for (const piece of head) scanner.push(piece);
  scanner.push(tail, start, end);
  return scanner.finish();
}

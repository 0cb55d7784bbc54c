/**
 * What a line of MCP is, as far as a relay has to know: a request, a notification, an answer, a batch of
 * those, or none of them. Bytes are looked at, never re-serialised.
 */
import { EnvelopeScanner } from "./envelope-scanner.ts";

/**
 * `id` is the raw JSON text, as it has to stand in an answer: `5`, `"5"` and `"\u0035"` differ here
 * (`RequestLedger` says when they are the same). An answer to nobody has the id `null`. A line with a
 * method is never a response; an id that is neither a string nor a number is none.
 */
export type Envelope =
  | { readonly type: "request"; readonly id: string; readonly method: string }
  | { readonly type: "notification"; readonly method: string }
  | { readonly type: "response"; readonly id: string; readonly isError: boolean }
  | { readonly type: "batch" }
  | { readonly type: "opaque" };

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

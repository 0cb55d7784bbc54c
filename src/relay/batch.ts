/** Takes a JSON-RPC batch apart (MCP revision 2025-03-26 has them), so that its members can be looked at. */
import { BACKSLASH, CLOSE_BRACE, OPEN_BRACE, QUOTE } from "./json-tokens.ts";
import { Line } from "./line.ts";

const NEWLINE = Buffer.from("\n");

/** The objects that stand in the array of a line that `readEnvelope` calls a batch. */
export function* batchMembers(batch: Buffer): Generator<Line> {
  let depth = 0;
  let start = 0;
  let inString = false;
  for (let at = 0; at < batch.length; at++) {
    const byte = batch[at];
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_BRACE && depth++ === 0) start = at;
    else if (byte === CLOSE_BRACE && --depth === 0) yield new Line([], batch, start, at + 1);
  }
}

/** The same as lines of their own, each with its newline. */
export function* batchLines(batch: Buffer): Generator<Line> {
  for (const { bytes } of batchMembers(batch)) yield new Line([], Buffer.concat([bytes, NEWLINE]));
}

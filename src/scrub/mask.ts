/**
 * The text that stands for a secret, `[mcp-run:NAME]` wherever that is safe: it neither contains a needle
 * nor can it, together with what stands before or behind it, become one. So what comes out holds no needle.
 */
import type { NeedleTable } from "./needle-table.ts";
import type { PrefixIndex } from "./prefix-index.ts";

const FRAMES = ["[]", "<>", "{}", "()", "«»", "‹›", "⟦⟧"].map((frame) => [...frame] as [string, string]);

/** Block elements and geometric shapes: more than there are needles that begin or end with one. */
const FIRST_FILLER = 0x2588;
const LAST_FILLER = 0x25ff;

/** @param label the secret's name; control characters in it are not shown */
export function maskFor(label: string, table: NeedleTable, prefixes: PrefixIndex): Buffer {
  const masks = candidates(label.replace(/[\p{C}\s]/gu, "?"));
  const usual = Buffer.from(masks.next().value ?? "");
  if (!clashes(usual, table, prefixes)) return usual;
  for (const candidate of masks) {
    const mask = Buffer.from(candidate);
    if (!clashes(mask, table, prefixes)) return mask;
  }
  return usual;
}

function* candidates(label: string): Generator<string> {
  for (const body of [`mcp-run:${label}`, "hidden", "***"]) {
    for (const [open, close] of FRAMES) yield open + body + close;
  }
  for (let code = FIRST_FILLER; code <= LAST_FILLER; code++) yield String.fromCharCode(code).repeat(3);
}

function clashes(mask: Buffer, table: NeedleTable, prefixes: PrefixIndex): boolean {
  // 1. A needle inside the mask, or one that begins in the mask and goes on behind it.
  let found = false;
  const visitor = {
    match: () => {
      found = true;
    },
    cut: () => {
      found = true;
      return true;
    },
  };
  prefixes.walk(mask, 0, mask.length, { left: Number.POSITIVE_INFINITY }, visitor);
  if (found) return true;
  // 2. A needle that begins before the mask and ends in it.
  for (let needle = 0; needle < table.count; needle++) {
    const end = table.offsets[needle]! + table.lengths[needle]!;
    for (let length = Math.min(mask.length, table.lengths[needle]!); length > 0; length--) {
      const from = end - length;
      if (table.bytes[from] === mask[0] && mask.compare(table.bytes, from, end, 0, length) === 0) return true;
    }
  }
  // 3. A needle that holds the whole mask (one found across two needles is none, but costs only a candidate).
  return table.bytes.includes(mask);
}

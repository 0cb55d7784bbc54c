/**
 * Reads a JSON object from its end: the members behind its last nested value, as raw text. In a long message what
 * a relay wants stands before that value or behind it (the SDK writes `result, jsonrpc, id`), and its megabytes
 * need not be looked at. Right for every text that is JSON: its last `}` ends the outermost object, and a quote
 * before a key can't end a string. Undefined where it can't be told; then the text has to be read from its front.
 */
import { BACKSLASH, CLOSE_BRACE, COLON, COMMA, isBlank, isScalar, QUOTE } from "./json-tokens.ts";

const CLOSE_BRACKET = 0x5d;

/** By key, strings with their quotes; `bytes[start..end)` is the end of the text. */
export function trailingMembers(
  bytes: Buffer,
  start: number,
  end: number,
): ReadonlyMap<string, string> | undefined {
  const members = new Map<string, string>();
  let at = beforeBlanks(bytes, start, end);
  if (bytes[at - 1] !== CLOSE_BRACE) return undefined;
  at = beforeBlanks(bytes, start, at - 1);
  while (at > start) {
    const last = bytes[at - 1];
    if (last === CLOSE_BRACE || last === CLOSE_BRACKET) return members;
    const valueStart = last === QUOTE ? stringStart(bytes, start, at) : scalarStart(bytes, start, at);
    if (valueStart === undefined) return undefined;
    const value = bytes.toString("utf8", valueStart, at);
    if (last !== QUOTE && !isScalar(value)) return undefined;
    const colon = beforeBlanks(bytes, start, valueStart);
    if (bytes[colon - 1] !== COLON) return undefined;
    const keyEnd = beforeBlanks(bytes, start, colon - 1);
    const keyStart = bytes[keyEnd - 1] === QUOTE ? stringStart(bytes, start, keyEnd) : undefined;
    if (keyStart === undefined) return undefined;
    const key = bytes.toString("utf8", keyStart + 1, keyEnd - 1);
    // Read backwards, the first of two is the one that counts.
    if (!members.has(key)) members.set(key, value);
    const comma = beforeBlanks(bytes, start, keyStart);
    if (bytes[comma - 1] !== COMMA) return undefined;
    at = beforeBlanks(bytes, start, comma - 1);
  }
  return undefined;
}

/** Where the string begins whose closing quote is the last byte before `end`; undefined if it has escapes. */
function stringStart(bytes: Buffer, start: number, end: number): number | undefined {
  for (let at = end - 2; at >= start; at--) {
    if (bytes[at] === BACKSLASH) return undefined;
    if (bytes[at] === QUOTE) return at > start && bytes[at - 1] !== BACKSLASH ? at : undefined;
  }
  return undefined;
}

function scalarStart(bytes: Buffer, start: number, end: number): number | undefined {
  let at = end;
  while (at > start && isOfScalar(bytes[at - 1]!)) at--;
  return at === end || at === start ? undefined : at;
}

function isOfScalar(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x2d ||
    byte === 0x2b ||
    byte === 0x2e ||
    byte === 0x45
  );
}

function beforeBlanks(bytes: Buffer, start: number, end: number): number {
  let at = end;
  while (at > start && isBlank(bytes[at - 1]!)) at--;
  return at;
}

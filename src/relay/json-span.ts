/**
 * Where a value stands in the bytes of a JSON object, so that it alone can be replaced and every other byte stays.
 * Nothing is built. Of a key that stands twice the last counts, as with JSON.parse; a text that breaks off or is
 * no JSON has no such value.
 */
import {
  BACKSLASH,
  BRACKET_BIT,
  CLOSE_BRACE,
  COLON,
  COMMA,
  decodedString,
  endsScalar,
  isBlank,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from "./json-tokens.ts";

/** Offsets of the value's bytes, a string with its quotes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const CLOSE_BRACKET = 0x5d;

/** Where the value at the end of `path` stands; undefined if there is none, or if an array is on the way. */
export function spanOf(json: Buffer, path: readonly string[]): Span | undefined {
  let span: Span | undefined = { start: 0, end: json.length };
  for (const key of path) {
    if (span === undefined) return undefined;
    span = memberOf(json, span, key);
  }
  return span;
}

/** The raw JSON text of the value at the end of `path`; undefined if there is none. */
export function rawValue(json: Buffer, path: readonly string[]): string | undefined {
  const span = spanOf(json, path);
  return span && json.toString("utf8", span.start, span.end);
}

/** The same bytes with `raw` in place of the value at the end of `path`; the same buffer if there is none. */
export function withRawValue(json: Buffer, path: readonly string[], raw: string): Buffer {
  const span = spanOf(json, path);
  if (span === undefined) return json;
  return Buffer.concat([json.subarray(0, span.start), Buffer.from(raw), json.subarray(span.end)]);
}

/** The last member called `key` of the object that begins in `within`. */
function memberOf(json: Buffer, within: Span, key: string): Span | undefined {
  let found: Span | undefined;
  let at = afterBlanks(json, within.start, within.end);
  while (isByteOrderMark(json[at])) at++;
  at = afterBlanks(json, at, within.end);
  if (json[at] !== OPEN_BRACE) return undefined;
  at = afterBlanks(json, at + 1, within.end);
  while (json[at] === QUOTE) {
    const keyEnd = stringEnd(json, at, within.end);
    const colon = afterBlanks(json, keyEnd, within.end);
    if (json[colon] !== COLON) return undefined;
    const start = afterBlanks(json, colon + 1, within.end);
    const end = valueEnd(json, start, within.end);
    if (end === start || end > within.end) return undefined;
    if (decodedString(json, at + 1, keyEnd - 1) === key) found = { start, end };
    at = afterBlanks(json, end, within.end);
    if (json[at] === CLOSE_BRACE) return found;
    if (json[at] !== COMMA) return undefined;
    at = afterBlanks(json, at + 1, within.end);
  }
  return undefined;
}

function valueEnd(json: Buffer, start: number, end: number): number {
  const first = json[start];
  if (first === QUOTE) return stringEnd(json, start, end);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return nestedEnd(json, start, end);
  let at = start;
  while (at < end && !endsScalar(json[at]!) && json[at] !== CLOSE_BRACKET) at++;
  return at;
}

/** Behind the closing quote of the string that begins at `start`; beyond `end` if there is none. */
function stringEnd(json: Buffer, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) {
    if (json[at] === BACKSLASH) at++;
    else if (json[at] === QUOTE) return at + 1;
  }
  return end + 1;
}

function nestedEnd(json: Buffer, start: number, end: number): number {
  let depth = 0;
  for (let at = start; at < end; at++) {
    const byte = json[at]!;
    if (byte === QUOTE) at = stringEnd(json, at, end) - 1;
    else if ((byte | BRACKET_BIT) === OPEN_BRACE) depth++;
    else if ((byte | BRACKET_BIT) === CLOSE_BRACE && --depth === 0) return at + 1;
  }
  return end + 1;
}

function afterBlanks(json: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && isBlank(json[at]!)) at++;
  return at;
}

function isByteOrderMark(byte: number | undefined): boolean {
  return byte === 0xef || byte === 0xbb || byte === 0xbf;
}

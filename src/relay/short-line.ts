/**
 * Reads the envelope of a short line that lies in one buffer and is written as most are: an object whose keys have
 * no escapes. Gives what the scanner would, at a third of its time, or undefined for whatever is unusual.
 */
import type { Envelope } from "./envelope.ts";
import {
  BACKSLASH,
  BRACKET_BIT,
  CLOSE_BRACE,
  COLON,
  COMMA,
  endsScalar,
  equals,
  isBlank,
  isScalar,
  OPEN_BRACE,
  QUOTE,
  smallInteger,
} from "./json-tokens.ts";

/** First bytes of `id`, `method`, `result` and `error`. */
const [I, M, R, E] = [0x69, 0x6d, 0x72, 0x65];

/** The last method that was read, since they repeat: its bytes and its text. */
let knownMethod: Buffer = Buffer.alloc(0);
let knownMethodText = "";

/** Of the line `bytes[start..end)`, with its newline or without. */
export function readShortLine(bytes: Buffer, start: number, end: number): Envelope | undefined {
  if (bytes[start] !== OPEN_BRACE) return undefined;
  let id: string | undefined;
  let method: string | undefined;
  let hasResult = false;
  let hasError = false;
  let at = start + 1;
  for (;;) {
    while (bytes[at] === 0x20) at++;
    if (at >= end || bytes[at] !== QUOTE) return undefined;
    const keyStart = at + 1;
    at = plainStringEnd(bytes, keyStart, end);
    if (at < 0) return undefined;
    const keyLength = at - 1 - keyStart;
    const firstByte = bytes[keyStart];
    while (bytes[at] === 0x20) at++;
    if (bytes[at++] !== COLON) return undefined;
    while (bytes[at] === 0x20) at++;
    const valueStart = at;
    const valueEnd = endOfValue(bytes, at, end);
    if (valueEnd < 0) return undefined;
    at = valueEnd;
    if (keyLength === 2 && firstByte === I && is(bytes, keyStart, "id")) {
      id = idAt(bytes, valueStart, valueEnd);
      if (id === undefined) return undefined;
    } else if (keyLength === 6 && firstByte === M && is(bytes, keyStart, "method")) {
      if (bytes[valueStart] !== QUOTE) return undefined;
      method = methodAt(bytes, valueStart + 1, valueEnd - 1);
      if (method === undefined) return undefined;
    } else if (keyLength === 6 && firstByte === R && is(bytes, keyStart, "result")) hasResult = true;
    else if (keyLength === 5 && firstByte === E && is(bytes, keyStart, "error")) {
      if (bytes[valueStart] !== OPEN_BRACE) return undefined;
      hasError = true;
    }
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_BRACE) break;
    if (next !== COMMA) return undefined;
  }
  for (; at < end; at++) if (!isBlank(bytes[at]!)) return undefined;
  if (at > end) return undefined;
  if (method !== undefined) {
    return id === undefined ? { type: "notification", method } : { type: "request", id, method };
  }
  if (id === undefined || !(hasResult || hasError)) return undefined;
  return { type: "response", id, isError: hasError };
}

/** Behind the closing quote; -1 if there is none, or an escape before it. */
function plainStringEnd(bytes: Buffer, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) return -1;
  }
  return -1;
}

/** Behind the value that begins at `from`; -1 if it does not end before `end`, or is a scalar that is no JSON. */
function endOfValue(bytes: Buffer, from: number, end: number): number {
  const first = bytes[from]!;
  if (first === QUOTE) return stringEnd(bytes, from + 1, end);
  if ((first | BRACKET_BIT) === OPEN_BRACE) return nestedEnd(bytes, from + 1, end);
  let at = from;
  while (at < end && !endsScalar(bytes[at]!)) at++;
  return smallInteger(bytes, from, at) >= 0 || isScalar(bytes.toString("latin1", from, at)) ? at : -1;
}

function stringEnd(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    at += byte === BACKSLASH ? 2 : 1;
  }
  return -1;
}

function nestedEnd(bytes: Buffer, from: number, end: number): number {
  let depth = 1;
  for (let at = from; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === QUOTE) {
      at = stringEnd(bytes, at + 1, end) - 1;
      if (at < 0) return -1;
    } else if ((byte | BRACKET_BIT) === OPEN_BRACE) depth++;
    else if ((byte | BRACKET_BIT) === CLOSE_BRACE && --depth === 0) return at + 1;
  }
  return -1;
}

/** A small number, or a plain string with its quotes. */
function idAt(bytes: Buffer, start: number, end: number): string | undefined {
  if (bytes[start] === QUOTE) {
    return isPlainText(bytes, start + 1, end - 1) ? bytes.toString("latin1", start, end) : undefined;
  }
  const value = smallInteger(bytes, start, end);
  return value < 0 ? undefined : String(value);
}

function methodAt(bytes: Buffer, start: number, end: number): string | undefined {
  if (equals(bytes, start, end, knownMethod)) return knownMethodText;
  if (!isPlainText(bytes, start, end)) return undefined;
  knownMethod = Buffer.from(bytes.subarray(start, end));
  knownMethodText = bytes.toString("latin1", start, end);
  return knownMethodText;
}

/** ASCII that stands for itself in a JSON string. */
function isPlainText(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return false;
  }
  return true;
}

function is(bytes: Buffer, start: number, key: string): boolean {
  for (let at = 0; at < key.length; at++) if (bytes[start + at] !== key.charCodeAt(at)) return false;
  return true;
}

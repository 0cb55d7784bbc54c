/** What the relay's readers know of JSON: its bytes, and how to read a token whose ends are known. */

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
/** `[` and `{`, `]` and `}` differ in this bit only. */
export const BRACKET_BIT = 0x20;

const SCALAR = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

/** True for a number, `true`, `false` and `null`. */
export function isScalar(text: string): boolean {
  return SCALAR.test(text);
}

export function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** True if an odd run of backslashes ends right before `at`; none before `floor` counts. */
export function isEscaped(bytes: Buffer, floor: number, at: number): boolean {
  let first = at;
  while (first > floor && bytes[first - 1] === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}

export function endsScalar(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte <= 0x20;
}

export function hasBackslash(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === BACKSLASH) return true;
  return false;
}

export function equals(bytes: Buffer, start: number, end: number, other: Buffer): boolean {
  if (end - start !== other.length) return false;
  for (let at = 0; at < other.length; at++) if (bytes[start + at] !== other[at]) return false;
  return true;
}

/** The text of a JSON string without its quotes; undefined if it is none. */
export function decodedString(bytes: Buffer, start: number, end: number): string | undefined {
  try {
    return JSON.parse(`"${bytes.toString("utf8", start, end)}"`);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The value of a run of digits that can be nothing else; -1 for any other token. */
export function smallInteger(bytes: Buffer, start: number, end: number): number {
  if (end === start || end - start > 9 || (bytes[start] === 0x30 && end - start > 1)) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

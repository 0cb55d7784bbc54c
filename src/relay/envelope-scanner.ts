/**
 * Finds the top-level `id`, `method`, `result` and `error` of one JSON-RPC message in its bytes, wherever
 * they stand, without building objects. The bytes may come in pieces, cut anywhere, and none is kept but
 * the beginning of a cut key, id or method. The top level is checked as JSON; what is nested is only
 * followed by its quotes and brackets, so a line whose brackets close is taken at its word.
 */
import type { Envelope } from "./envelope.ts";
import {
  BACKSLASH,
  BRACKET_BIT,
  CLOSE_BRACE,
  COLON,
  COMMA,
  decodedString,
  endsScalar,
  equals,
  hasBackslash,
  isBlank,
  isEscaped,
  isScalar,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  smallInteger,
} from "./json-tokens.ts";

/** Ids, methods and keys above this many bytes count as unreadable: they'd have to be kept. */
export const MAX_TOKEN_BYTES = 1024;

/** Strings are searched by hand for so many bytes before a native search pays. */
const NEAR = 64;

const BEFORE_MESSAGE = 0;
const BEFORE_FIRST_KEY = 1;
const BEFORE_KEY = 2;
const IN_KEY = 3;
const BEFORE_COLON = 4;
const BEFORE_VALUE = 5;
const IN_STRING = 6;
const IN_SCALAR = 7;
const IN_NESTED = 8;
const IN_NESTED_STRING = 9;
const AFTER_VALUE = 10;
const BEFORE_MEMBER = 11;
const DONE = 12;
const BROKEN = 13;

const OTHER = 0;
const ID = 1;
const METHOD = 2;
const RESULT = 3;
const ERROR = 4;

/** Indexed by ID, METHOD, RESULT and ERROR; no key is OTHER. */
const KEYS: readonly string[] = ["", "id", "method", "result", "error"];
const KEY_BYTES: readonly Buffer[] = KEYS.map((key) => Buffer.from(key));

const OPAQUE: Envelope = Object.freeze({ type: "opaque" });
const BATCH: Envelope = Object.freeze({ type: "batch" });

export class EnvelopeScanner {
  #state = BEFORE_MESSAGE;
  /** Which key's value is being read. */
  #field = OTHER;
  /** Open brackets of the nested value that is being followed. */
  #depth = 0;
  /** The last piece ended right behind a backslash. */
  #escaped = false;
  /** Where the key, string or scalar begins in this piece. */
  #tokenStart = 0;
  /** The part of it that came in earlier pieces. */
  #carried: Buffer | undefined;
  #isBatch = false;
  #id: string | undefined;
  #method: string | undefined;
  #hasResult = false;
  #hasError = false;
  #errorIsNull = false;
  /** Methods repeat: the last one's bytes and text, so that most need no new string. */
  #knownMethod: Buffer = Buffer.alloc(0);
  #knownMethodText = "";

  /** Forgets the message, to begin with another. */
  reset(): void {
    this.#state = BEFORE_MESSAGE;
    this.#escaped = false;
    this.#carried = undefined;
    this.#isBatch = false;
    this.#id = undefined;
    this.#method = undefined;
    this.#hasResult = false;
    this.#hasError = false;
  }

  /** Reads on in `bytes[start..end)`. */
  push(bytes: Buffer, start = 0, end = bytes.length): void {
    let at = start;
    this.#tokenStart = start;
    while (at < end) {
      switch (this.#state) {
        case BROKEN:
          return;
        case IN_NESTED:
        case IN_NESTED_STRING:
          at = this.#followNested(bytes, at, end);
          break;
        case IN_KEY:
        case IN_STRING:
          at = this.#readString(bytes, at, end);
          break;
        case IN_SCALAR:
          at = this.#readScalar(bytes, at, end);
          break;
        default:
          at = this.#readPunctuation(bytes, at, end);
      }
    }
  }

  /** True if what was pushed ends inside of a nested value of a message's own key. */
  get isInNestedValue(): boolean {
    return !this.#isBatch && (this.#state === IN_NESTED || this.#state === IN_NESTED_STRING);
  }

  /**
   * What it is if nothing of interest follows in the nested value but these members behind it (raw JSON by key).
   * Only while isInNestedValue.
   */
  finishWith(members: ReadonlyMap<string, string>): Envelope | undefined {
    if (members.has("method") || members.has("result") || members.has("error")) return undefined;
    const id = members.get("id");
    if (id === undefined) return this.#envelope();
    if (id.length > MAX_TOKEN_BYTES || id === "true" || id === "false") return undefined;
    this.#id = id;
    return this.#envelope();
  }

  /** What the pieces since the last `reset` were. */
  finish(): Envelope {
    if (this.#state !== DONE) return OPAQUE;
    return this.#isBatch ? BATCH : this.#envelope();
  }

  #envelope(): Envelope {
    const id = this.#id;
    if (this.#method !== undefined) {
      if (id === undefined || id === "null") return { type: "notification", method: this.#method };
      return { type: "request", id, method: this.#method };
    }
    if (id === undefined || !(this.#hasResult || this.#hasError)) return OPAQUE;
    return { type: "response", id, isError: this.#hasError && !this.#errorIsNull };
  }

  #readPunctuation(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (at < end) {
      const byte = bytes[at++]!;
      if (isBlank(byte)) continue;
      switch (this.#state) {
        case BEFORE_MESSAGE:
          if (byte === OPEN_BRACE) this.#state = BEFORE_FIRST_KEY;
          else if (byte === OPEN_BRACKET) this.#state = BEFORE_MEMBER;
          else if (!isOfByteOrderMark(byte)) return this.#break(end);
          break;
        case BEFORE_FIRST_KEY:
        case BEFORE_KEY:
          if (byte === QUOTE) {
            this.#tokenStart = at;
            this.#state = IN_KEY;
            return at;
          }
          if (byte !== CLOSE_BRACE || this.#state === BEFORE_KEY) return this.#break(end);
          this.#state = DONE;
          break;
        case BEFORE_COLON:
          if (byte !== COLON) return this.#break(end);
          this.#state = BEFORE_VALUE;
          break;
        case BEFORE_VALUE:
          return this.#beginValue(byte, at);
        case AFTER_VALUE:
          if (byte === COMMA) this.#state = BEFORE_KEY;
          else if (byte === CLOSE_BRACE) this.#state = DONE;
          else return this.#break(end);
          break;
        case BEFORE_MEMBER:
          if (byte !== OPEN_BRACE) return this.#break(end);
          this.#isBatch = true;
          this.#depth = 2;
          this.#state = IN_NESTED;
          return at;
        default:
          return this.#break(end);
      }
    }
    return at;
  }

  /** `at` is behind the value's first byte. Of a key that stands twice the last value counts. */
  #beginValue(byte: number, at: number): number {
    if (this.#field === ID) this.#id = undefined;
    else if (this.#field === METHOD) this.#method = undefined;
    else if (this.#field === RESULT) this.#hasResult = true;
    else if (this.#field === ERROR) {
      this.#hasError = true;
      this.#errorIsNull = byte === 0x6e;
    }
    if (byte === QUOTE) {
      this.#tokenStart = at;
      this.#state = IN_STRING;
      return at;
    }
    if ((byte | BRACKET_BIT) === OPEN_BRACE) {
      this.#depth = 1;
      this.#state = IN_NESTED;
      return at;
    }
    this.#tokenStart = at - 1;
    this.#state = IN_SCALAR;
    return at - 1;
  }

  #followNested(bytes: Buffer, from: number, end: number): number {
    let at = from;
    let depth = this.#depth;
    let inString = this.#state === IN_NESTED_STRING;
    for (;;) {
      if (inString) {
        at = this.#stringEnd(bytes, at, end);
        if (at < 0) break;
        inString = false;
      }
      while (at < end && !inString) {
        const byte = bytes[at++]!;
        if (byte === QUOTE) inString = true;
        else if ((byte | BRACKET_BIT) === OPEN_BRACE) depth++;
        else if ((byte | BRACKET_BIT) === CLOSE_BRACE && --depth === 0) {
          this.#state = this.#isBatch ? DONE : AFTER_VALUE;
          return at;
        }
      }
      if (at >= end) break;
    }
    this.#depth = depth;
    this.#state = inString ? IN_NESTED_STRING : IN_NESTED;
    return end;
  }

  /** A key, or a string that is the value of a top-level key. */
  #readString(bytes: Buffer, from: number, end: number): number {
    const at = this.#stringEnd(bytes, from, end);
    const isKey = this.#state === IN_KEY;
    const isWanted = isKey || this.#field === ID || this.#field === METHOD;
    if (at < 0) {
      if (isWanted) this.#carry(bytes, end);
      return end;
    }
    this.#state = isKey ? BEFORE_COLON : AFTER_VALUE;
    if (isKey) this.#field = OTHER;
    if (!isWanted) return at;
    if (this.#carried === undefined) return this.#takeString(isKey, bytes, this.#tokenStart, at - 1, at);
    this.#carry(bytes, at - 1);
    const whole = this.#carried;
    this.#carried = undefined;
    return this.#takeString(isKey, whole, 0, whole.length, at);
  }

  #takeString(isKey: boolean, bytes: Buffer, start: number, end: number, next: number): number {
    if (end - start > MAX_TOKEN_BYTES) return next;
    if (isKey) {
      this.#field = fieldOf(bytes, start, end);
      return next;
    }
    if (this.#field === METHOD && equals(bytes, start, end, this.#knownMethod)) {
      this.#method = this.#knownMethodText;
      return next;
    }
    const text = decodedString(bytes, start, end);
    if (text === undefined) {
      this.#state = BROKEN;
    } else if (this.#field === METHOD) {
      this.#method = text;
      this.#knownMethod = Buffer.from(bytes.subarray(start, end));
      this.#knownMethodText = text;
    } else {
      this.#id = `"${bytes.toString("utf8", start, end)}"`;
    }
    return next;
  }

  #readScalar(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (at < end && !endsScalar(bytes[at]!)) at++;
    if (at === end) {
      this.#carry(bytes, end);
      return end;
    }
    this.#state = AFTER_VALUE;
    let text: string;
    if (this.#carried === undefined) {
      const value = smallInteger(bytes, this.#tokenStart, at);
      if (value >= 0) {
        if (this.#field === ID) this.#id = String(value);
        return at;
      }
      text = bytes.toString("latin1", this.#tokenStart, at);
    } else {
      this.#carry(bytes, at);
      text = this.#carried.toString("latin1");
      this.#carried = undefined;
    }
    if (text.length > MAX_TOKEN_BYTES) return at;
    if (!isScalar(text)) this.#state = BROKEN;
    else if (this.#field === ID && text !== "true" && text !== "false") this.#id = text;
    return at;
  }

  /** The index behind the closing quote, or -1 if the string goes on in the next piece. */
  #stringEnd(bytes: Buffer, from: number, end: number): number {
    let at = from;
    if (this.#escaped) {
      this.#escaped = false;
      at++;
    }
    for (;;) {
      const near = Math.min(at + NEAR, end);
      while (at < near) {
        const byte = bytes[at]!;
        if (byte === QUOTE) return at + 1;
        at += byte === BACKSLASH ? 2 : 1;
      }
      if (at >= end) {
        this.#escaped = at > end;
        return -1;
      }
      const quote = bytes.indexOf(QUOTE, at);
      if (quote < 0 || quote >= end) {
        this.#escaped = isEscaped(bytes, at, end);
        return -1;
      }
      if (!isEscaped(bytes, at, quote)) return quote + 1;
      at = quote + 1;
    }
  }

  /** Keeps what this piece holds of a token, up to one byte more than may be read. */
  #carry(bytes: Buffer, end: number): void {
    const room = MAX_TOKEN_BYTES + 1 - (this.#carried?.length ?? 0);
    const more = bytes.subarray(this.#tokenStart, Math.min(end, this.#tokenStart + room));
    this.#carried = this.#carried === undefined ? Buffer.from(more) : Buffer.concat([this.#carried, more]);
  }

  #break(end: number): number {
    this.#state = BROKEN;
    return end;
  }
}

/** Some writers begin their stream with EF BB BF; whether the reader takes it is not for us to say. */
function isOfByteOrderMark(byte: number): boolean {
  return byte === 0xef || byte === 0xbb || byte === 0xbf;
}

function fieldOf(bytes: Buffer, start: number, end: number): number {
  const field = likelyField(bytes[start], end - start);
  if (field !== OTHER && equals(bytes, start, end, KEY_BYTES[field]!)) return field;
  if (!hasBackslash(bytes, start, end)) return OTHER;
  return Math.max(OTHER, KEYS.indexOf(decodedString(bytes, start, end) ?? ""));
}

function likelyField(firstByte: number | undefined, length: number): number {
  if (length === 2) return ID;
  if (length === 5) return ERROR;
  if (length === 6) return firstByte === KEY_BYTES[METHOD]![0] ? METHOD : RESULT;
  return OTHER;
}

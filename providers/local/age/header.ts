/**
 * The textual header of an age file, parsed strictly: https://github.com/C2SP/C2SP/blob/main/age.md
 * Anything that the format does not allow is refused, also in stanzas that are not ours.
 */
import { ProviderError } from "../../../src/errors.ts";

/** One wrapped copy of the file key. */
export type Stanza =
  | { readonly type: "x25519"; readonly share: Buffer; readonly wrappedKey: Buffer }
  | {
      readonly type: "scrypt";
      readonly salt: Buffer;
      /** log2 of scrypt's N. */
      readonly workFactor: number;
      readonly wrappedKey: Buffer;
    }
  /** Of a kind that we can't open. */
  | { readonly type: "other" };

export interface AgeHeader {
  readonly stanzas: readonly Stanza[];
  /** The bytes that the MAC covers. */
  readonly macInput: Buffer;
  readonly mac: Buffer;
  /** Where the payload begins. */
  readonly byteLength: number;
}

const VERSION_LINE = "age-encryption.org/v1";
const ARMOR_LINE = "-----BEGIN AGE ENCRYPTED FILE-----";
/** About 1,600 recipients; each costs a key agreement when a foreign identity is tried. */
const MAX_HEADER_BYTES = 256 * 1024;
/**
 * log2 of the most costly scrypt that is tried: 1 GiB of memory and some seconds. A file chooses its own work
 * factor, and it may come from somebody else.
 */
const MAX_WORK_FACTOR = 20;
const NEWLINE = 0x0a;
const FULL_LINE = 64;
const WRAPPED_KEY_BYTES = 32;

/** Throws ProviderError `invalid` if `file` does not begin with a well-formed header. */
export function parseHeader(file: Buffer): AgeHeader {
  const lines = new HeaderLines(file);
  const first = lines.next();
  if (first.trimEnd() === ARMOR_LINE)
    throw malformed("it is armored text, and only age's binary form is read");
  if (first !== VERSION_LINE) throw malformed("it is not an age file");

  const stanzas: Stanza[] = [];
  for (;;) {
    const line = lines.next();
    if (line.startsWith("-> ")) {
      stanzas.push(typedStanza(line.slice(3).split(" "), readBody(lines)));
      continue;
    }
    const mac = line.startsWith("--- ") ? decodeBase64(line.slice(4)) : undefined;
    if (mac?.length !== 32) throw malformed("its header has no MAC line");
    if (stanzas.length === 0) throw malformed("its header names no recipient");
    if (stanzas.length > 1 && stanzas.some(({ type }) => type === "scrypt")) {
      throw malformed("its header has a passphrase beside other recipients");
    }
    const macInput = file.subarray(0, lines.position - line.length - 1 + "---".length);
    return { stanzas, macInput, mac, byteLength: lines.position };
  }
}

class HeaderLines {
  readonly #file: Buffer;
  position = 0;

  constructor(file: Buffer) {
    this.#file = file;
  }

  /** The next line without its newline, one character a byte. */
  next(): string {
    const end = this.#file.indexOf(NEWLINE, this.position);
    if (end < 0) throw malformed(this.position === 0 ? "it is not an age file" : "its header is cut off");
    if (end > MAX_HEADER_BYTES) throw malformed(`its header is longer than ${MAX_HEADER_BYTES / 1024} KiB`);
    const line = this.#file.toString("latin1", this.position, end);
    this.position = end + 1;
    return line;
  }
}

function readBody(lines: HeaderLines): Buffer {
  const parts: Buffer[] = [];
  for (;;) {
    const line = lines.next();
    const part = decodeBase64(line);
    if (!part || line.length > FULL_LINE) throw malformed("its header has a malformed line");
    parts.push(part);
    if (line.length < FULL_LINE) return Buffer.concat(parts);
  }
}

function typedStanza(args: readonly string[], body: Buffer): Stanza {
  if (!args.every((arg) => /^[\x21-\x7e]+$/.test(arg))) throw malformed("its header has a malformed line");
  const [type, ...rest] = args;
  if (type === "X25519") {
    const share = rest.length === 1 ? decodeBase64(rest[0] ?? "") : undefined;
    if (share?.length !== 32 || body.length !== WRAPPED_KEY_BYTES) {
      throw malformed("its header has a malformed X25519 recipient");
    }
    return { type: "x25519", share, wrappedKey: body };
  }
  if (type === "scrypt") {
    const salt = rest.length === 2 ? decodeBase64(rest[0] ?? "") : undefined;
    const factor = rest[1] ?? "";
    if (salt?.length !== 16 || !/^[1-9][0-9]*$/.test(factor) || body.length !== WRAPPED_KEY_BYTES) {
      throw malformed("its header has a malformed passphrase recipient");
    }
    if (Number(factor) > MAX_WORK_FACTOR) {
      throw malformed(`its passphrase has the scrypt work factor ${factor}, more than ${MAX_WORK_FACTOR}`);
    }
    return { type: "scrypt", salt, workFactor: Number(factor), wrappedKey: body };
  }
  return { type: "other" };
}

/** Canonical base64 without padding; undefined for anything else. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64").replace(/=+$/, "") === text ? bytes : undefined;
}

function malformed(what: string): ProviderError {
  return new ProviderError("invalid", what);
}

/**
 * The spellings under which a secret may show up in a stream: the one place where variants are made.
 * No variant is shorter than the shortest value that is scrubbed, and none consists of blanks only, so
 * that hiding a secret never makes a log unreadable.
 */
import { jsonForms, mainTextForms, markupForms, percentForms, shellForms } from "./text-escapes.ts";

/** Shorter values (in characters, blanks around them not counted) are not scrubbed. */
const SHORTEST_VALUE = 4;

/** A user name inside a URL is taken for a token only from this length on: `postgres` stays readable. */
const SHORTEST_URL_USER = 16;

/** `base64` breaks its lines at 76 characters (RFC 2045), `openssl base64` and PEM at 64 (RFC 7468). */
const BASE64_COLUMNS = [64, 76];

/** Of a longer value only the main variants are made: all of them would fill hundreds of megabytes. */
const LONGEST_IN_FULL = 65_536;

/** Text of which no encoder but base64 and hex changes a character. */
const PLAIN_TEXT = /^[A-Za-z0-9_.-]*$/;

/** True if hiding the value would make every log unreadable. */
export function isTooShort(value: string): boolean {
  const text = value.trim();
  return text.length < SHORTEST_VALUE * 2 && [...text].length < SHORTEST_VALUE;
}

/** Every variant of a value, without duplicates, the value itself first; none if the value is too short. */
export function variantsOf(value: string): Buffer[] {
  if (isTooShort(value)) return [];
  const variants = new Map<string, Buffer>();
  const add = (text: string) => {
    if (variants.has(text) || text.trim() === "") return;
    const bytes = Buffer.from(text);
    if (bytes.length >= SHORTEST_VALUE) variants.set(text, bytes);
  };

  add(value);
  if (value !== value.trim()) for (const form of base64Forms(value)) add(form);
  for (const reading of readingsOf(value)) {
    for (const text of withEitherLineEnding(reading)) for (const form of formsOf(text)) add(form);
    const lines = linesOf(reading);
    if (lines.length < 2) continue;
    for (const separator of ["\r\r\n", " ", ""]) add(lines.join(separator));
    for (const line of lines) {
      if (isTooShort(line)) continue;
      add(line.trim());
      add(JSON.stringify(line.trim()).slice(1, -1));
    }
  }
  return [...variants.values()];
}

/** What a program may take out of the value: its text, real line breaks for `\n`, a password in a URL. */
function readingsOf(value: string): Set<string> {
  const text = value.trim();
  const readings = new Set([text]);
  if (text.includes("\\n")) readings.add(text.replaceAll("\\r", "").replaceAll("\\n", "\n").trim());
  for (const part of urlCredentials(text)) if (!isTooShort(part)) readings.add(part);
  return readings;
}

function formsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  const hex = bytes.toString("hex");
  const forms = [text, ...base64Forms(text), hex, hex.toUpperCase()];
  if (PLAIN_TEXT.test(text)) return forms;
  if (bytes.length > LONGEST_IN_FULL) return forms.concat(mainTextForms(text));
  return forms.concat(jsonForms(text), percentForms(text), markupForms(text), shellForms(text));
}

/**
 * Base64 and base64url of the text at each of the three places where it can begin inside a longer message:
 * only the characters that depend on nothing but the text. For a message that is the text alone, also
 * the ending with and without its padding, and the lines of a wrapped message.
 */
function base64Forms(text: string): string[] {
  const message = Buffer.from(`\0\0${text}`);
  const length = message.length - 2;
  const whole = message.toString("base64", 2);
  const forms = [whole.slice(0, Math.floor((length * 8) / 6)), whole.replace(/=+$/, ""), whole];
  for (const before of [1, 2]) {
    // 6 bits a character: the first two or three characters hold bits of what stands before.
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor(((before + length) * 8) / 6);
    forms.push(message.toString("base64", 2 - before).slice(from, to));
  }
  if (length <= LONGEST_IN_FULL)
    for (const columns of BASE64_COLUMNS) forms.push(...wrapped(forms[0]!, columns));
  return forms.concat(
    forms.filter((form) => /[+/]/.test(form)).map((form) => form.replaceAll("+", "-").replaceAll("/", "_")),
  );
}

/** The lines of a message that is broken at so many columns; none if it fits on one. */
function wrapped(message: string, columns: number): string[] {
  const lines: string[] = [];
  if (message.length <= columns) return lines;
  for (let at = 0; at < message.length; at += columns) lines.push(message.slice(at, at + columns));
  return lines.filter((line) => line.length >= SHORTEST_VALUE * 2);
}

function linesOf(text: string): string[] {
  return text.split(/\r\n|\n|\r/);
}

function withEitherLineEnding(text: string): Set<string> {
  const lines = linesOf(text);
  return lines.length < 2 ? new Set([text]) : new Set([text, lines.join("\n"), lines.join("\r\n")]);
}

/** The password of `scheme://user:password@host`, as it stands and percent-decoded, and a user name that is a token. */
function urlCredentials(text: string): string[] {
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.exec(text);
  if (!scheme) return [];
  const rest = text.slice(scheme[0].length);
  const found: string[] = [];
  // RFC 3986 ends the authority at the first of / ? #, but a password may have been pasted in unescaped.
  const authority = /^[^/?#]*/.exec(rest)?.[0] ?? "";
  const isCutPassword = /:.*[^0-9]/.test(authority) || authority.endsWith(":");
  for (const text of isCutPassword ? [authority, rest] : [authority]) {
    const userInfo = text.slice(0, Math.max(0, text.lastIndexOf("@")));
    const colon = userInfo.indexOf(":");
    const user = colon < 0 ? userInfo : userInfo.slice(0, colon);
    if (colon >= 0) found.push(userInfo.slice(colon + 1));
    if (user.length >= SHORTEST_URL_USER) found.push(user);
  }
  return found.flatMap((part) => [part, percentDecoded(part)]);
}

function percentDecoded(text: string): string {
  const bytes = Buffer.from(text);
  const decoded: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const digits =
      bytes[at] === 0x25 ? /^[0-9a-fA-F]{2}$/.exec(bytes.toString("latin1", at + 1, at + 3)) : null;
    decoded.push(digits ? Number.parseInt(digits[0], 16) : bytes[at]!);
    if (digits) at += 2;
  }
  return Buffer.from(decoded).toString();
}

/** The grammar of refs: `provider:path[#key]`, split at the first colon; design.md section 4. */
import type { Ref } from "./spec.ts";

const PROVIDER_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** Either the parsed ref, or what is wrong with the text (a state, without the text itself). */
export type ParsedRef =
  | { readonly ok: true; readonly ref: Ref }
  | { readonly ok: false; readonly reason: string };

/**
 * Takes a ref apart. `#key` picks a field of a JSON document; dots in it go deeper, `\.` is a dot, and
 * `\#` in the path is a `#`.
 */
export function parseRef(text: string): ParsedRef {
  const colon = text.indexOf(":");
  if (colon < 0) return refuse("it has no colon; a ref is written provider:path#key");
  const provider = text.slice(0, colon);
  if (!PROVIDER_NAME.test(provider)) return refuse("what stands before the colon is not a provider's name");
  const [rawPath, rawField] = splitUnescaped(text.slice(colon + 1), "#", 2);
  const path = unescaped(rawPath ?? "", "#");
  if (path === "") return refuse("it has no path after the colon");
  if (path !== path.trim()) return refuse("its path begins or ends with a blank");
  if (hasControlCharacter(text)) return refuse("it holds a control character");
  if (rawField === undefined) return { ok: true, ref: { provider, request: { path }, text } };
  const field = splitUnescaped(rawField, ".").map((step) => unescaped(step, "."));
  if (field.some((step) => step === "")) return refuse("a part of its key after the # is empty");
  return { ok: true, ref: { provider, request: { path }, field, text } };
}

/** True for text that is meant as a ref of one of these providers, so that it can be refused where it is not one. */
export function looksLikeRef(text: string, providers: Iterable<string>): boolean {
  const colon = text.indexOf(":");
  if (colon <= 0 || text.startsWith("//", colon + 1)) return false;
  const head = text.slice(0, colon);
  for (const provider of providers) if (provider === head) return true;
  return false;
}

function refuse(reason: string): ParsedRef {
  return { ok: false, reason };
}

function splitUnescaped(text: string, separator: string, limit = Number.POSITIVE_INFINITY): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length && parts.length + 1 < limit; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === separator) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function unescaped(text: string, character: string): string {
  return text.replaceAll(`\\${character}`, character);
}

function hasControlCharacter(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

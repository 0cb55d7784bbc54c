/**
 * Masks secrets in the strings of a JSON text, as their reader would see them: each string is decoded first, so
 * that no way of escaping a character hides one. Keys, numbers and the top-level `id` and `method` stay, so does
 * every byte outside of a string that holds a secret, and what was JSON remains JSON.
 */
import { scrubText } from "./scrub-stream.ts";
import type { NeedleSource } from "./scrubber.ts";

const KEPT_AT_TOP = new Set(["id", "method", "jsonrpc"]);
/** A string of JSON text, quotes included. RFC 8259, section 7. */
const STRING = /"(?:[^"\\]|\\.)*"/y;

/** Undefined if nothing had to be masked, or if the text is no JSON. */
export function redactJson(json: string, needles: NeedleSource): string | undefined {
  let redacted = "";
  let copied = 0;
  let depth = 0;
  let key = "";
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    else if (character === '"') {
      STRING.lastIndex = at;
      const [token] = STRING.exec(json) ?? [];
      const text = token === undefined ? undefined : decoded(token);
      if (token === undefined || text === undefined) return undefined;
      const end = at + token.length;
      if (isKey(json, end)) {
        if (depth === 1) key = text;
      } else if (depth !== 1 || !KEPT_AT_TOP.has(key)) {
        const masked = scrubText(text, needles);
        if (masked !== text) {
          redacted += json.slice(copied, at) + JSON.stringify(masked);
          copied = end;
        }
      }
      at = end - 1;
    }
  }
  return copied === 0 ? undefined : redacted + json.slice(copied);
}

/** True if the string that ends here is followed by a colon. */
function isKey(json: string, end: number): boolean {
  let at = end;
  while (json[at] === " " || json[at] === "\t" || json[at] === "\n" || json[at] === "\r") at++;
  return json[at] === ":";
}

function decoded(token: string): string | undefined {
  try {
    return JSON.parse(token);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

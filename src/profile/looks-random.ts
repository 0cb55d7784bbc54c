/**
 * Tells a random token from a name. In base64 and base62 the kind of character (lower, upper, digit) changes
 * at more than half of the places, in names at few; names are made of words, tokens are not. Pure hex passes:
 * it is mostly a hash or an id.
 */

const FEWEST_CHARACTERS = 20;
const LEAST_CHANGE = 0.25;
const MOST_IN_WORDS = 0.5;
const FEWEST_DIFFERENT = 10;
/** Base64url has a dash or underscore about every 32 characters; names have them far more often. */
const CHARACTERS_A_SEPARATOR = 12;

const WORD = /[A-Z]?[a-z]{3,}/g;

/** True for a run of letters, digits and `+/_-=` that is long enough to be a key and reads like none but that. */
export function looksRandom(run: string): boolean {
  const text = run.replace(/=+$/, "");
  const characters = text.replace(/[^A-Za-z0-9]/g, "");
  if (characters.length < FEWEST_CHARACTERS) return false;
  if (!/\d/.test(characters) || !/[A-Za-z]/.test(characters)) return false;
  if (/^(?:[0-9a-f]+|[0-9A-F]+)$/.test(characters)) return false;
  if (text.length - characters.length > text.length / CHARACTERS_A_SEPARATOR) return false;
  if (new Set(characters).size < FEWEST_DIFFERENT) return false;
  if (changes(text) / characters.length < LEAST_CHANGE) return false;
  // Without capitals there is no camel case to mistake for a token, and random letters fill longer runs.
  return !/[A-Z]/.test(text) || lengthInWords(text) / characters.length <= MOST_IN_WORDS;
}

/** How often the kind of character changes between neighbours; a separator is no neighbour. */
function changes(text: string): number {
  let count = 0;
  for (let at = 1; at < text.length; at++) {
    const before = kindOf(text.charCodeAt(at - 1));
    const here = kindOf(text.charCodeAt(at));
    if (before && here && before !== here) count++;
  }
  return count;
}

function kindOf(code: number): "lower" | "upper" | "digit" | undefined {
  if (code >= 0x61 && code <= 0x7a) return "lower";
  if (code >= 0x41 && code <= 0x5a) return "upper";
  return code >= 0x30 && code <= 0x39 ? "digit" : undefined;
}

function lengthInWords(text: string): number {
  return (text.match(WORD) ?? []).reduce((sum, word) => sum + word.length, 0);
}

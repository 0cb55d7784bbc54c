/**
 * Where the members of an object stand in JSON text, so that one can be changed with every other character left as
 * it was: a parser that writes the text anew would round large numbers and drop blanks. The text must be valid.
 */

/** Half-open ranges of the text. */
interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Member {
  readonly name: string;
  /** With its quotes. */
  readonly key: Span;
  readonly value: Span;
}

export interface ObjectText {
  /** Between the braces. */
  readonly inside: Span;
  readonly members: readonly Member[];
}

/** @param at where the object begins, blanks in front of it included */
export function readObject(text: string, at: number): ObjectText {
  const from = skipBlanks(text, at) + 1;
  const members: Member[] = [];
  let next = skipBlanks(text, from);
  while (text[next] !== "}") {
    const key = { from: next, to: stringEnd(text, next) };
    const value = skipBlanks(text, skipBlanks(text, key.to) + 1);
    const member = { name: JSON.parse(text.slice(key.from, key.to)), key, value: spanAt(text, value) };
    members.push(member);
    next = skipBlanks(text, member.value.to);
    if (text[next] === ",") next = skipBlanks(text, next + 1);
  }
  return { inside: { from, to: next }, members };
}

/** The value that begins at this place. */
function spanAt(text: string, from: number): Span {
  let depth = 0;
  let at = from;
  do {
    const character = text[at];
    if (character === '"') at = stringEnd(text, at);
    else {
      if (character === "{" || character === "[") depth++;
      if (character === "}" || character === "]") depth--;
      at++;
    }
  } while (depth > 0 || (isScalar(text, from) && isScalar(text, at)));
  return { from, to: at };
}

/** True inside a number, `true`, `false` or `null`. */
function isScalar(text: string, at: number): boolean {
  return /[\w.+-]/.test(text[at] ?? "");
}

function stringEnd(text: string, from: number): number {
  let at = from + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (/[ \t\r\n]/.test(text[at] ?? "")) at++;
  return at;
}

/** The end of what a program says on stderr, made fit to be quoted in an error. */

const LINES = 5;
const LINE_CHARACTERS = 200;

/** The last non-empty lines, as `quotable` lets them through, control characters escaped, long lines cut. */
export function lastLines(text: string, quotable: (text: string) => string): readonly string[] {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(-LINES);
  return quotable(lines.join("\n"))
    .split("\n")
    .map((line) => escaped(line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line));
}

function escaped(line: string): string {
  return line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) =>
    character === "\t" ? " " : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

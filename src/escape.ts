/**
 * Shows the control characters of a line instead of obeying them (a terminal must not be steered by what a
 * server or a backend says), and those that reorder or break a line. A tab is left alone, or shown as `tab`.
 */
export function escapeControl(line: string, tab = "\t"): string {
  return line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) => {
    switch (character) {
      case "\t":
        return tab;
      case "\n":
        return "\\n";
      case "\r":
        return "\\r";
      case "\u001b":
        return "\\e";
      default:
        return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
    }
  });
}

const LAST_LINES = 5;
const LINE_CHARACTERS = 200;

/**
 * The last non-empty lines of what a program says on stderr, as `quotable` lets them through, control characters
 * escaped, long lines cut: fit to be quoted in an error.
 */
export function lastLines(text: string, quotable: (text: string) => string): readonly string[] {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(-LAST_LINES);
  return quotable(lines.join("\n"))
    .split("\n")
    .map((line) =>
      escapeControl(line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line, " "),
    );
}

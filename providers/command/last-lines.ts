/** The end of what a program says on stderr, made fit to be quoted in an error. */
import { escapeControl } from "../../src/escape.ts";

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
    .map((line) =>
      escapeControl(line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line, " "),
    );
}

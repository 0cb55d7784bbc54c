/** Markdown out of texts that others have worded: none of them can be more than a text in its place. */
import { escapeControl } from "../../escape.ts";

const LONGEST = 500;

/**
 * The text as itself, on one line: no markup, no link, no HTML, no cell of a table. Source: CommonMark 0.31 (backslash
 * escapes, entities), GitHub Flavored Markdown (tables, autolinks).
 */
export function plain(text: string): string {
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return escapeControl(short.trim(), " ")
    .replace(/[\\|`*_{}[\]()<>#!~&@$]/g, escaped)
    .replaceAll("://", "\\://")
    .replace(/\bwww\./gi, (start) => `${start.slice(0, -1)}\\.`);
}

/** A backslash does not protect a bar or itself within a table, whatever stands before them. */
function escaped(character: string): string {
  return character === "\\" || character === "|" ? `&#${character.charCodeAt(0)};` : `\\${character}`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** To be copied as it is. The fence is longer than any in it. */
export function codeBlock(language: string, lines: readonly string[]): string {
  const shown = lines.map((line) => escapeControl(line, " "));
  const longest = Math.max(
    2,
    ...shown.flatMap((line) => (line.match(/`+/g) ?? []).map(({ length }) => length)),
  );
  const fence = "`".repeat(longest + 1);
  return [`${fence}${language}`, ...shown, fence].join("\n");
}

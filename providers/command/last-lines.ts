/** The end of what a program says on stderr, made fit to be quoted in an error. */

const LINES = 5;
const LINE_CHARACTERS = 200;
/** Below this a replacement would tear up ordinary words. */
const SHORTEST_HIDDEN = 4;

/**
 * The last non-empty lines, without any of the values, control characters escaped, long lines cut.
 * A value is hidden as a whole, and line by line where it has several.
 */
export function lastLines(text: string, values: readonly string[]): readonly string[] {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(-LINES);
  return withoutValues(lines.join("\n"), values)
    .split("\n")
    .map((line) => escaped(line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line));
}

function withoutValues(text: string, values: readonly string[]): string {
  if (text === "") return text;
  const needles = values
    .flatMap((value) => [value.trim(), ...value.split(/\r?\n/).map((line) => line.trim())])
    .flatMap((value) => [
      value,
      JSON.stringify(value).slice(1, -1),
      encodeURIComponent(Buffer.from(value).toString()),
    ])
    .filter((needle) => needle.length >= SHORTEST_HIDDEN);
  const longestFirst = [...new Set(needles)].sort((a, b) => b.length - a.length);
  return longestFirst.reduce((rest, needle) => rest.replaceAll(needle, "[hidden]"), text);
}

function escaped(line: string): string {
  return line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) =>
    character === "\t" ? " " : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

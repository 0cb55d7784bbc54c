/**
 * What of a source line must not be shown: credentials by their form, and whatever stands behind a name that
 * carries one, unless it is a ref. Better a star too many than a password in a support ticket.
 */
import { findCredentials } from "./credential-literals.ts";
import { carriesCredential } from "./credential-names.ts";

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** `NAME: value`, `NAME=value`, `"--name", "value"` and `--name value`; the last group is the value. */
const NAMED = [
  /(["']?)-{0,2}([A-Za-z][\w-]{1,80})\1(?:[ \t]*[:=][ \t]*|,[ \t]*)(["']?)([^\s"',{}[\]][^"',{}[\]\n]*)/g,
  /(--)([A-Za-z][\w-]{1,80})([ \t]+)([^\s"',{}[\]][^"',{}[\]\n]*)/g,
];
const REF_OR_VARIABLE = /^(?:[A-Za-z][\w-]{0,31}:[^\s:]|\$\{|[|>*&]|true\b|false\b|null\b)/;

/** Ranges of `line` to hide, in order; they may overlap. */
export function maskedRanges(line: string): readonly Range[] {
  const ranges: Range[] = [...findCredentials(line)];
  for (const match of NAMED.flatMap((form) => [...line.matchAll(form)])) {
    const [whole, , name = "", , value = ""] = match;
    const start = match.index + whole.length - value.length;
    if (carriesCredential(name.replaceAll("-", "_")) && !REF_OR_VARIABLE.test(value))
      ranges.push({ start, end: start + value.trimEnd().length });
  }
  return ranges.sort((a, b) => a.start - b.start);
}

/** The text with its credentials replaced by stars; for messages that quote a file or a program. */
export function masked(text: string, ranges: readonly Range[] = findCredentials(text)): string {
  let shown = "";
  let at = 0;
  for (const { start, end } of ranges) {
    if (end <= at) continue;
    shown += `${text.slice(at, Math.max(at, start))}${STARS}`;
    at = end;
  }
  return shown + text.slice(at);
}

export const STARS = "********";

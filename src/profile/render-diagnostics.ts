/**
 * Findings to lines for people: `file:line:column: message`, the source line, a caret, a hint. Sorted by
 * position, each once. Values that could be secrets are shown as stars, control characters escaped, and of
 * a long line only what is around the caret.
 */

import { escapeControl } from "../escape.ts";
import type { Finding } from "./findings.ts";
import { masked, maskedRanges, type Range, STARS } from "./mask.ts";
import type { Span, YamlDocument } from "./yaml-document.ts";

const MOST_SHOWN = 50;
const BEFORE_CARET = 60;
const AFTER_CARET = 50;
const LONGEST_MESSAGE = 400;

export interface RenderedDiagnostics {
  /** How many there are; more than are shown, perhaps. */
  readonly count: number;
  readonly lines: readonly string[];
}

type Positions = Pick<YamlDocument, "source" | "spanOf">;

/** Positions in a text that is not YAML: only offsets. */
export function offsetsOnly(source: string): Positions {
  return {
    source,
    spanOf: (place) => ("offset" in place ? { start: place.offset, end: place.end } : { start: 0, end: 1 }),
  };
}

export function renderDiagnostics(
  file: string,
  positions: Positions,
  findings: readonly Finding[],
  alsoHidden: readonly Finding[] = [],
): RenderedDiagnostics {
  const hidden = [...findings, ...alsoHidden]
    .filter(({ hidesValue }) => hidesValue)
    .map(({ place }) => positions.spanOf(place));
  const sorted = located(findings, positions);
  const source = new SourceText(positions.source, hidden);
  const lines = sorted
    .slice(0, MOST_SHOWN)
    .flatMap(({ finding, span }) => [
      `${escapeControl(file, "\\t")}:${source.position(span.start)}: ${messageOf(finding)}`,
      ...source.excerpt(span),
      ...(finding.hint ? [`  Try ${escapeControl(masked(finding.hint), "\\t")}`] : []),
    ]);
  if (sorted.length > MOST_SHOWN) lines.push(`and ${sorted.length - MOST_SHOWN} more`);
  return { count: sorted.length, lines };
}

/** One line each: for warnings, which leave out the excerpt. */
export function renderBriefly(
  file: string,
  positions: Positions,
  findings: readonly Finding[],
): readonly string[] {
  const source = new SourceText(positions.source, []);
  return located(findings, positions).map(({ finding, span }) => {
    const hint = finding.hint ? `. Try ${escapeControl(masked(finding.hint), "\\t")}` : "";
    return `${escapeControl(file, "\\t")}:${source.position(span.start)}: ${messageOf(finding)}${hint}`;
  });
}

function located(
  findings: readonly Finding[],
  positions: Positions,
): readonly { finding: Finding; span: Span }[] {
  const seen = new Set<string>();
  return findings
    .map((finding) => ({ finding, span: positions.spanOf(finding.place) }))
    .sort((a, b) => a.span.start - b.span.start)
    .filter(({ finding, span }) => {
      const key = `${span.start} ${finding.message}`;
      return !seen.has(key) && seen.add(key);
    });
}

function messageOf({ message }: Finding): string {
  const text = escapeControl(masked(message), "\\t");
  return text.length > LONGEST_MESSAGE ? `${text.slice(0, LONGEST_MESSAGE)}…` : text;
}

class SourceText {
  readonly #text: string;
  readonly #hidden: readonly Span[];
  readonly #starts: readonly number[];
  readonly #masks = new Map<number, readonly Range[]>();

  constructor(text: string, hidden: readonly Span[]) {
    this.#text = text;
    this.#hidden = hidden;
    const starts = [0];
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
    this.#starts = starts;
  }

  /** `line:column`, both from 1, the column in UTF-16 units as editors count. */
  position(offset: number): string {
    const { index, start } = this.#lineAt(offset);
    return `${index + 1}:${offset - start + 1}`;
  }

  /** The line at a span, with a caret below; nothing for an empty file. */
  excerpt(span: Span): readonly string[] {
    const { index, start, end } = this.#lineAt(span.start);
    const line = this.#text.slice(start, end);
    if (this.#text.trim() === "") return [];
    const within = (at: number) => Math.min(Math.max(at - start, 0), line.length);
    const hidden = this.#hidden
      .filter((range) => range.start < end && range.end > start)
      .map((range) => ({ start: within(range.start), end: within(range.end) }));
    const { shown, from, to } = displayed(
      line,
      within(span.start),
      Math.max(within(span.end), within(span.start) + 1),
      [...hidden, ...this.#masksOf(index, line)],
    );
    const number = String(index + 1).padStart(5);
    const margin = " ".repeat(number.length);
    return [`${number} | ${shown}`, `${margin} | ${" ".repeat(from)}${"^".repeat(Math.max(1, to - from))}`];
  }

  /** Many mistakes may stand in one long line. */
  #masksOf(index: number, line: string): readonly Range[] {
    const known = this.#masks.get(index) ?? maskedRanges(line);
    this.#masks.set(index, known);
    return known;
  }

  #lineAt(offset: number): { index: number; start: number; end: number } {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    const start = this.#starts[low] as number;
    const next = this.#starts[low + 1] ?? this.#text.length + 1;
    const end = this.#text[next - 2] === "\r" ? next - 2 : next - 1;
    return { index: low, start, end: Math.max(start, end) };
  }
}

/** The line as it may be shown, and where the span stands in it. */
function displayed(
  line: string,
  start: number,
  end: number,
  masks: readonly Range[],
): { shown: string; from: number; to: number } {
  const isHidden = new Uint8Array(line.length);
  for (const mask of masks) isHidden.fill(1, mask.start, mask.end);
  const first = start > BEFORE_CARET ? start - BEFORE_CARET : 0;
  let shown = first > 0 ? "…" : "";
  let from: number | undefined;
  let to: number | undefined;
  let at = first;
  for (; at < line.length && (from === undefined || shown.length < from + AFTER_CARET); at++) {
    const isStartOfMask = isHidden[at] && (at === first || !isHidden[at - 1]);
    if (at === start) from = isHidden[at] && !isStartOfMask ? shown.length - STARS.length : shown.length;
    if (at === end) to = shown.length;
    if (isStartOfMask) shown += STARS;
    else if (!isHidden[at]) shown += escapeControl(line[at] as string, " ");
  }
  const length = shown.length;
  return { shown: at < line.length ? `${shown}…` : shown, from: from ?? length, to: to ?? length };
}

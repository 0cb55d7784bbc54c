/** What every part of compiling a profile needs at hand. */
import type { DocumentPath, Finding, Findings } from "./findings.ts";
import type { MergedBody } from "./merged-body.ts";
import type { ProfileRequest } from "./request.ts";
import type { Scalar } from "./schema.ts";
import type { Expansion } from "./variables.ts";
import type { YamlDocument } from "./yaml-document.ts";

export interface Compilation extends MergedBody {
  readonly request: ProfileRequest;
  readonly document: YamlDocument;
  readonly findings: Findings;
  /** Words that may stand before the colon of a ref. */
  readonly providerWords: readonly string[];
  /** Names that were expanded. */
  readonly variablesUsed: Set<string>;
}

/** A scalar as it was written: `1.10` stays `1.10`. */
export function textOf(
  value: Scalar,
  path: DocumentPath,
  { document }: Pick<Compilation, "document">,
): string {
  return typeof value === "string" ? value : (document.writtenAt(path) ?? String(value));
}

/** Takes the text of an expansion and reports what was wrong with it. */
export function expanded(
  { text, names, problems }: Expansion,
  path: DocumentPath,
  { findings, variablesUsed }: Pick<Compilation, "findings" | "variablesUsed">,
): string {
  for (const name of names) variablesUsed.add(name);
  for (const { find, message, hint } of problems) findings.error({ path, find }, message, { hint });
  return text;
}

/** Reports a quantity outside `least` to `most`; `range` names both with their units. */
export function checkRange(
  path: DocumentPath,
  value: number | undefined,
  least: number,
  most: number,
  range: string,
  findings: Findings,
): void {
  if (value !== undefined && (value < least || value > most))
    findings.error({ path }, `\`${path.at(-1)}\` is out of its range`, { hint: range });
}

/** An error, unless the user has said that plain text is meant. */
export function plaintextFinding(
  { findings, request }: Pick<Compilation, "findings" | "request">,
  place: Finding["place"],
  message: string,
  hint: string,
): void {
  if (request.allowPlaintext) findings.warning(place, message, { hint, hidesValue: true });
  else findings.error(place, message, { hint, hidesValue: true });
}

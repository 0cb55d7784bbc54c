/** The audit as people read it, and as programs do. What is in a file is shown, never obeyed. */
import { secretsOf } from "../audit/filters.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { Verdict } from "../audit/verify.ts";
import { escapeControl } from "../escape.ts";
import { formatTable } from "./table.ts";
import { timeText } from "./times.ts";

/** A line each; nothing for none. */
export function auditText(records: readonly AuditRecord[]): string {
  const rows = records.map((record) => [
    timeText(record.at),
    text(record.event),
    text(record.profile),
    `${text(record.user)}@${text(record.host)}[${text(record.pid)}]`,
    detailsOf(record).join(", "),
  ]);
  return formatTable(rows.map((row) => row.map((cell) => escapeControl(cell, " "))));
}

/** As they are in the files, but for what a terminal would obey. */
export function auditJson(records: readonly AuditRecord[]): string {
  return records.map((record) => `${escapeControl(JSON.stringify(record))}\n`).join("");
}

/** @param anchored how many anchors there were; undefined for none at all */
export function verdictText(verdict: Verdict, anchored: number | undefined): string {
  const { files, records, problems, torn, expired } = verdict;
  const lines = problems.map(({ file, problem }) => `✘ ${file}: ${problem}`);
  const isSound = problems.length === 0;
  if (isSound) lines.push(`✔ ${count(files, "file")}, ${count(records, "record")}: all is as it was written`);
  for (const file of torn) lines.push(`- ${file} ends in half a line: its writer was killed, or is at it`);
  if (expired > 0) lines.push(`- ${count(expired, "file")} of the anchors had been kept long enough`);
  if (anchored !== undefined && isSound)
    lines.push(`✔ nothing is missing of the ${count(anchored, "anchor")}`);
  if (anchored === undefined)
    lines.push(
      "- only anchors show what was cut off at the end of a file, or removed: mcp-run audit head > anchors.txt",
    );
  return `${lines.map((line) => escapeControl(line)).join("\n")}\n`;
}

function detailsOf(record: AuditRecord): readonly string[] {
  const { mode, program, generation, serverPid, signal, method, isMasked, reason, exitCode, lost } = record;
  const { rotation, step, state, target } = record;
  const { tool, outcome, code, ms, client, during, how } = record;
  return [
    ...(tool === undefined ? [] : [`${text(tool)}: ${text(outcome)} in ${text(ms)} ms`]),
    ...(code === undefined ? [] : [text(code)]),
    ...(client === undefined ? [] : [`for ${text(client)}`]),
    ...(during === undefined ? [] : [`during ${text(during)}`]),
    ...(how === undefined ? [] : [text(how)]),
    ...(rotation === undefined
      ? []
      : [step === undefined ? text(rotation) : `${text(rotation)}: ${text(step)} ${text(state)}`]),
    ...(target === undefined ? [] : [text(target)]),
    ...(program === undefined ? [] : [`${text(mode)} ${text(program)}`]),
    ...(generation === undefined ? [] : [`generation ${text(generation)}`]),
    ...(serverPid === undefined ? [] : [`server pid ${text(serverPid)}`]),
    ...(signal === undefined ? [] : [text(signal)]),
    ...secretsOf(record).map(secretText),
    ...(method === undefined ? [] : [`in ${text(method)}`]),
    ...(isMasked === true ? ["masked"] : []),
    ...(reason === undefined ? [] : [text(reason)]),
    ...(exitCode === undefined ? [] : [`exit code ${text(exitCode)}`]),
    ...(lost === undefined ? [] : [`${text(lost)} records before it are lost`]),
  ];
}

function secretText({ name, from, version }: ReturnType<typeof secretsOf>[number]): string {
  const where = [
    ...(from === undefined ? [] : [from]),
    ...(version === undefined ? [] : [`version ${text(version)}`]),
  ];
  return where.length === 0 ? text(name) : `${text(name)} (${where.map(text).join(", ")})`;
}

function text(value: unknown): string {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/**
 * The incident report: what leaked, what was done when and by whom, who has the new value, and what nobody knows yet.
 * Markdown, for people who were not there. Names, refs, versions and fingerprints; there is no value to be had here.
 */

import type { Acknowledgement } from "../contract.ts";
import { type AccessQuery, accessQuery } from "./access-log.ts";
import type { Incident, IncidentSecret, Moment } from "./incident.ts";
import { codeBlock, plain, table } from "./markdown.ts";
import { openKeys, todos, unknowns } from "./open-ends.ts";

/** Hex digits of a fingerprint: enough to compare by eye. */
const FINGERPRINT_DIGITS = 16;
const NONE = "–";
/** How far back one looks for readers; CloudTrail keeps its events as long. */
const LOOK_BACK_DAYS = 90;

const OUTCOMES: Readonly<Record<Incident["outcome"], string>> = {
  done: "done",
  discarded: "discarded: nothing was changed",
  "rolled-back": "rolled back: the old value serves again",
  incomplete: "**incomplete**",
};
const STATES: Readonly<Record<Acknowledgement["state"], string>> = {
  acknowledged: "has the new value",
  pending: "**not yet**",
  failed: "**failed**",
  "cannot-swap": "**can't swap while it runs**",
  gone: "has ended",
  unknown: "**unknown**",
};
const REVOKED: Readonly<Record<IncidentSecret["revoked"], string>> = {
  revoked: "revoked",
  "by-hand": "revoked by hand, as the operator says",
  unknown: "**nobody has said so**",
  failed: "**failed**",
  "not-yet": "**not yet**",
  "not-needed": "there was no old key",
};
const VERIFIED: Readonly<Record<IncidentSecret["verified"], string>> = {
  refused: "refused",
  accepted: "**still accepted**",
  unknown: "could not be asked",
  "not-yet": "not asked yet",
};

/** The whole report, with a newline at its end. */
export function incidentReport(incident: Incident): string {
  const { profile, rotation, secrets, timeline, acknowledgements } = incident;
  const parts = [
    `# Incident: keys of ${plain(profile)} replaced`,
    ...stillValid(incident),
    summary(incident),
    "## What leaked",
    `Reason given: ${plain(incident.reason)}`,
    keysTable(secrets),
    "## Versions",
    versionsTable(secrets),
    `Fingerprints are HMAC-SHA256 under a key of this rotation, their first ${FINGERPRINT_DIGITS} digits.`,
    "## Timeline",
    timelineTable(timeline, incident.startedAt),
    ...lastWords(incident),
    "## Supervisors",
    ...(acknowledgements.length > 0
      ? [counts(acknowledgements), supervisorsTable(acknowledgements)]
      : [incident.isTold ? "None that used these secrets was running." : "None was told of a new value."]),
    "## What is unknown",
    list(unknowns(incident), "-"),
    "## What is left to do",
    list(todos(incident), "- [ ]"),
    ...nextCommands(incident),
    ...accessQueries(incident),
    `The journal of this rotation is ${plain(rotation)}; \`mcp-run audit\` has the records of each program.`,
  ];
  return `${parts.join("\n\n")}\n`;
}

function stillValid(incident: Incident): readonly string[] {
  const names = openKeys(incident).map(({ name }) => plain(name));
  return names.length > 0 ? [`> **OLD KEY STILL VALID**: ${names.join(", ")}`] : [];
}

function summary(incident: Incident): string {
  const { rotation, operator, version, startedAt, endedAt, outcome, outcomeReason } = incident;
  const took = endedAt === undefined ? "" : ` (${seconds(startedAt, endedAt)})`;
  const why = outcomeReason === undefined ? "" : `: ${plain(outcomeReason)}`;
  return table(
    ["", ""],
    [
      ["Rotation", plain(rotation)],
      ["Profile", plain(incident.profile)],
      ["Run by", plain(operator)],
      ["With", `mcp-run ${plain(version)}`],
      ["Began", plain(startedAt)],
      ["Ended", endedAt === undefined ? NONE : plain(endedAt) + took],
      ["Outcome", OUTCOMES[outcome] + why],
    ],
  );
}

function keysTable(secrets: readonly IncidentSecret[]): string {
  return table(
    ["Secret", "Ref", "Where", "Issuer", "Old key", "Revoked", "Refused now", "Retired in the store"],
    secrets.map(({ name, ref, place, issuer, before, revoked, verified, isRetired }) => [
      plain(name),
      plain(ref),
      orNone(place),
      plain(issuer),
      orNone(before.keyId),
      REVOKED[revoked],
      revoked === "not-needed" ? NONE : VERIFIED[verified],
      isRetired ? "yes" : "no",
    ]),
  );
}

function versionsTable(secrets: readonly IncidentSecret[]): string {
  return table(
    ["Secret", "Version before", "Version after", "Fingerprint before", "Fingerprint after", "New key"],
    secrets.map(({ name, before, after }) => [
      plain(name),
      orNone(before.version),
      orNone(after.version),
      orNone(before.fingerprint?.slice(0, FINGERPRINT_DIGITS)),
      orNone(after.fingerprint?.slice(0, FINGERPRINT_DIGITS)),
      orNone(after.keyId),
    ]),
  );
}

function timelineTable(timeline: readonly Moment[], startedAt: string): string {
  return table(
    ["Time", "After", "What", "Result"],
    timeline.map(({ at, what, result }) => [
      plain(at),
      seconds(startedAt, at),
      plain(what),
      result === undefined ? "" : plain(result),
    ]),
  );
}

/** Of the server that was tried with the new keys and does not work. */
function lastWords({ canary }: Incident): readonly string[] {
  if (!canary?.details?.length) return [];
  return [
    "### What the server with the new keys said",
    "Its last lines, without the secrets that it had:",
    codeBlock("text", canary.details),
  ];
}

function counts(acknowledgements: readonly Acknowledgement[]): string {
  const found = new Map<string, number>();
  for (const { state } of acknowledgements) found.set(state, (found.get(state) ?? 0) + 1);
  return `${acknowledgements.length} in all: ${[...found].map(([state, count]) => `${count} ${state}`).join(", ")}.`;
}

function supervisorsTable(acknowledgements: readonly Acknowledgement[]): string {
  return table(
    ["Host", "Pid", "Profile", "Generation", "State", "Reason"],
    acknowledgements.map(({ host, pid, profile, generation, state, reason }) => [
      plain(host),
      String(pid),
      plain(profile),
      String(generation),
      STATES[state],
      reason === undefined ? "" : plain(reason),
    ]),
  );
}

function nextCommands({ next }: Incident): readonly string[] {
  return next.length > 0 ? ["### What can be typed now", codeBlock("sh", next)] : [];
}

function accessQueries({ secrets, startedAt }: Incident): readonly string[] {
  const queries = new Map<string, AccessQuery>();
  // A leak is found out about later than it happens.
  const since = daysBefore(startedAt, LOOK_BACK_DAYS);
  for (const { storedAt, place } of secrets) {
    const query = storedAt && accessQuery(storedAt, since, place);
    if (query) queries.set(query.text, query);
  }
  if (queries.size === 0) return [];
  return [
    "### Who has read it in the store",
    ...[...queries.values()].flatMap(({ where, language, text }) => [
      `To be run ${where}; the time is ${LOOK_BACK_DAYS} days before this rotation began:`,
      codeBlock(language, [text]),
    ]),
  ];
}

/** Undone where it is no time. */
function daysBefore(time: string, days: number): string {
  const then = new Date(Date.parse(time) - days * 24 * 3_600_000);
  return Number.isNaN(then.getTime()) ? time : then.toISOString();
}

function orNone(text: string | undefined): string {
  return text === undefined ? NONE : plain(text);
}

function list(items: readonly string[], mark: string): string {
  return items.map((item) => `${mark} ${item}`).join("\n");
}

/** Of two times; whoever's clock has gone back is shown as it was. */
function seconds(from: string, to: string): string {
  const ms = Date.parse(to) - Date.parse(from);
  return Number.isNaN(ms) ? NONE : `${(ms / 1000).toFixed(1)} s`;
}

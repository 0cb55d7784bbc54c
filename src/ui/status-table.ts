/** The running supervisors as a table, and below it, a line each, what somebody should know of them. */
import type { SecretStatus, SupervisorStatus } from "../control/protocol.ts";
import { escapeControl } from "../escape.ts";
import { shortDuration } from "./durations.ts";
import { formatTable } from "./table.ts";

/** Somebody who listens and does not answer; `reason` is a state. */
export interface SilentSupervisor {
  readonly pid: number;
  readonly reason: string;
}

/** A rotation that has to be gone on with, or is being worked on. */
export interface UnfinishedRotation {
  readonly rotation: string;
  readonly profile: string;
  /** The command that goes on with it. */
  readonly resume: string;
  /** ISO 8601 */
  readonly startedAt: string;
  /** `user@host` */
  readonly operator: string;
  readonly reason: string;
  /** Some mcp-run works on it now. */
  readonly isRunning: boolean;
}

const HEAD = [
  "PROFILE",
  "PID",
  "CLIENT",
  "STATE",
  "GEN",
  "UP",
  "RESTARTS",
  "NEXT LOOK",
  "SECRET",
  "VERSION",
  "AGE",
  "REF",
];
const UNKNOWN = "-";
const LONGEST_VERSION = 16;

/**
 * @param now wall-clock ms
 * @param profile the only one that was asked for
 * @param isFleet there are other machines besides
 */
export function statusText(
  supervisors: readonly SupervisorStatus[],
  silent: readonly SilentSupervisor[],
  now: number,
  profile?: string,
  isFleet = false,
): string {
  if (supervisors.length + silent.length === 0)
    return `Nothing${profile === undefined ? "" : ` of ${profile}`} is running${isFleet ? " on this machine" : ""}.\n`;
  const rows = [
    ...supervisors.flatMap((status) => rowsOf(status, now)),
    ...silent.map(({ pid }) => ["?", String(pid), UNKNOWN, "silent"]),
  ];
  const isClientKnown = supervisors.some(({ client }) => client);
  const shown = [HEAD, ...rows].map((row) =>
    row
      .filter((_cell, column) => isClientKnown || HEAD[column] !== "CLIENT")
      .map((cell) => escapeControl(cell, "\\t")),
  );
  const table = formatTable(shown);
  const notes = [
    ...supervisors.flatMap((status) => notesOn(status, now)),
    ...silent.map(({ pid, reason }) => `${pid} does not answer: ${reason}`),
  ];
  const lines = notes.map((note) => `${escapeControl(note, "\\t")}\n`);
  return lines.length > 0 ? `${table}\n${lines.join("")}` : table;
}

/**
 * A line each, with what can be typed.
 *
 * @param now wall-clock ms
 */
export function unfinishedText(rotations: readonly UnfinishedRotation[], now: number): string {
  return rotations
    .map(({ rotation, profile, resume, startedAt, operator, reason, isRunning }) => {
      const state = isRunning
        ? `is under way (${reason}): ${rotation}`
        : `has not ended (${reason}): ${resume}`;
      const ago = shortDuration(now - Date.parse(startedAt));
      const line = `${profile}: a rotation by ${operator}, begun ${ago} ago, ${state}`;
      return `${escapeControl(line, "\\t")}\n`;
    })
    .join("");
}

/** One for each secret; the supervisor itself stands in the first. */
function rowsOf(status: SupervisorStatus, now: number): readonly (readonly string[])[] {
  const { refresh } = status;
  const own = [
    status.profile,
    String(status.pid),
    status.client?.name ?? UNKNOWN,
    refresh.isLooking && status.state === "serving" ? "looking" : status.state,
    String(status.generation),
    shortDuration(status.uptimeMs),
    String(status.restarts),
    refresh.nextAt === undefined ? UNKNOWN : `in ${shortDuration(Date.parse(refresh.nextAt) - now)}`,
  ];
  const [first = [], ...others] = status.secrets.map((secret) => [
    secret.name,
    shortVersion(secret.version),
    ageOf(secret, now),
    // The longest, and so the last: a narrow terminal cuts it off.
    secret.ref,
  ]);
  return [[...own, ...first], ...others.map((cells) => [...own.map(() => ""), ...cells])];
}

function shortVersion(version = UNKNOWN): string {
  return version.length > LONGEST_VERSION ? `${version.slice(0, LONGEST_VERSION - 1)}…` : version;
}

/**
 * `12d of 90d` where it may become so old. With a plus where the backend does not say when it was made: it is at least as
 * old as our knowledge of it. With an exclamation mark where it is older than it may be.
 */
function ageOf(secret: SecretStatus, now: number): string {
  const { createdAt, maxAgeMs } = secret;
  const age = `${shortDuration(msOf(secret, now))}${createdAt === undefined ? "+" : ""}`;
  const most = maxAgeMs === undefined ? "" : ` of ${shortDuration(maxAgeMs)}`;
  return `${age}${most}${isOverdue(secret, now) ? " !" : ""}`;
}

function msOf({ createdAt, fetchedAt }: SecretStatus, now: number): number {
  return now - Date.parse(createdAt ?? fetchedAt);
}

function isOverdue(secret: SecretStatus, now: number): boolean {
  return secret.maxAgeMs !== undefined && msOf(secret, now) > secret.maxAgeMs;
}

function notesOn(status: SupervisorStatus, now: number): readonly string[] {
  const who = `${status.profile} (${status.pid})`;
  const ago = (time: string) => `${shortDuration(now - Date.parse(time))} ago`;
  const notes: string[] = [];
  const { lastFailure, lastLookAt } = status.refresh;
  if (lastFailure && !(lastLookAt !== undefined && Date.parse(lastLookAt) > Date.parse(lastFailure.at)))
    notes.push(`the last look failed ${ago(lastFailure.at)}: ${lastFailure.reason}`);
  const { holding } = status;
  if (holding) {
    const left = shortDuration(Date.parse(holding.until) - now);
    notes.push(`new requests wait for the end of rotation ${holding.rotation}, for ${left} at most`);
  }
  for (const { name, cachedSince } of status.secrets)
    if (cachedSince !== undefined) notes.push(`${name} comes from the cache, fetched ${ago(cachedSince)}`);
  for (const secret of status.secrets)
    if (isOverdue(secret, now))
      notes.push(`${secret.name} is older than its maxAge of ${shortDuration(secret.maxAgeMs ?? 0)}`);
  if (status.leaks > 0)
    notes.push(`the server told the client a secret in ${counted(status.leaks, "message")}`);
  const { fleet } = status;
  if (fleet && (fleet.state !== "connected" || fleet.reason !== undefined)) {
    const why = fleet.reason === undefined ? "" : `: ${fleet.reason}`;
    const to = fleet.state === "refused" ? "by" : "to";
    notes.push(`${fleet.state} ${to} its fleet since ${ago(fleet.since ?? status.startedAt)}${why}`);
  }
  if (status.scrubbed > 0) notes.push(`${counted(status.scrubbed, "secret")} masked on stderr`);
  if (status.secretsLeftOut) notes.push(`${counted(status.secretsLeftOut, "more secret")}`);
  return notes.map((note) => `${who}: ${note}`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

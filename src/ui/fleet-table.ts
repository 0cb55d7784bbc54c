/** The hosts of a fleet as a table with counts, and below it, a line each, what somebody should know of them. */
import { escapeControl } from "../escape.ts";
import { shortDuration } from "./durations.ts";
import { formatTable } from "./table.ts";

/** One who is heard over the bus; all of it is its own word. */
export interface FleetSupervisor {
  readonly host: string;
  readonly pid: number;
  readonly instance: string;
  readonly profile: string;
  readonly generation: number;
  readonly mode: string;
  /** The id of the rotation for whose end new requests of its client wait. */
  readonly holdsFor?: string;
  readonly secrets: readonly {
    readonly ref: string;
    readonly version?: string | undefined;
    readonly state: string;
    readonly reason?: string | undefined;
    readonly rotation?: string | undefined;
  }[];
}

/** One who says nothing now: a supervisor that has taken no leave, or a host that there should be. */
export interface SilentOfFleet {
  readonly host: string;
  readonly pid?: number;
  readonly profile?: string;
  /** ISO 8601; absent for never. */
  readonly lastHeardAt?: string;
  /** Why it is among them although it is heard. */
  readonly reason?: string;
}

export type FleetSeen =
  | {
      readonly state: "seen";
      readonly supervisors: readonly FleetSupervisor[];
      readonly silent: readonly SilentOfFleet[];
    }
  /** The bus can't be reached: nothing is known of other machines. */
  | { readonly state: "unseen"; readonly reason: string; readonly hint?: string };

const HEAD = ["HOST", "SERVERS", "PROFILES", "SECRETS"];
const SHOWN_HOSTS = 50;
const SHOWN_NOTES = 20;
/** What is as it should be needs no word. */
const SETTLED: ReadonlySet<string> = new Set(["idle", "has"]);

/** @param now wall-clock ms */
export function fleetText(seen: FleetSeen, now: number): string {
  if (seen.state === "unseen")
    return line(`The fleet can't be seen: ${seen.reason}${seen.hint ? `. Try ${seen.hint}.` : ""}`);
  const { supervisors, silent } = seen;
  const byHost = grouped(supervisors, ({ host }) => host);
  const hosts = [...byHost].sort(([a], [b]) => (a < b ? -1 : 1));
  // What is wrong somewhere is shown first, when not all can be.
  const rows = [...hosts]
    .sort(([, a], [, b]) => Number(troubles(b).length > 0) - Number(troubles(a).length > 0))
    .slice(0, SHOWN_HOSTS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([host, members]) => [host, String(members.length), profilesOf(members), secretsOf(members)]);
  const summary = `The fleet: ${counted(supervisors.length, "server")} on ${counted(hosts.length, "host")}, ${
    silent.length === 0 ? "nobody is silent" : `and ${silent.length} silent`
  }`;
  const table = rows.length === 0 ? "" : formatTable([HEAD, ...rows].map((row) => row.map(escaped)));
  const left = hosts.length - rows.length;
  const notes = [
    ...(left > 0 ? [`and ${counted(left, "more host")}`] : []),
    ...shown(
      hosts.flatMap(([, members]) => troubles(members)),
      "more supervisor",
    ),
    ...shown(
      silent.map((one) => silentText(one, now)),
      "more silent one",
    ),
  ];
  return `${line(summary)}${table}${notes.map(line).join("")}`;
}

function silentText({ host, pid, profile, lastHeardAt, reason }: SilentOfFleet, now: number): string {
  const who = pid === undefined ? host : `${profile} on ${host} (pid ${pid})`;
  const since =
    lastHeardAt === undefined
      ? "never heard"
      : `last heard ${shortDuration(now - Date.parse(lastHeardAt))} ago`;
  return `unknown: ${who}, ${since}${reason === undefined ? "" : `: ${reason}`}`;
}

function profilesOf(members: readonly FleetSupervisor[]): string {
  return [...grouped(members, ({ profile }) => profile)]
    .map(([profile, those]) => (those.length === 1 ? profile : `${profile} ×${those.length}`))
    .join(", ");
}

/** `3`, or what is not as it should be: `3: 1 failed`. */
function secretsOf(members: readonly FleetSupervisor[]): string {
  const states = members.flatMap(({ secrets }) => secrets.map(({ state }) => state));
  const odd = grouped(
    states.filter((state) => !SETTLED.has(state)),
    (state) => state,
  );
  const counts = [...odd].map(([state, those]) => `${those.length} ${state}`);
  return counts.length === 0 ? String(states.length) : `${states.length}: ${counts.join(", ")}`;
}

function troubles(members: readonly FleetSupervisor[]): readonly string[] {
  return members.flatMap(({ host, pid, profile, holdsFor, secrets }) => {
    const who = `${profile} on ${host} (pid ${pid})`;
    const odd = secrets.filter(({ state }) => !SETTLED.has(state));
    return [
      ...(holdsFor === undefined ? [] : [`${who}: new requests wait for the end of rotation ${holdsFor}`]),
      ...odd.map(
        ({ ref, state, reason }) => `${who}: ${ref} ${state}${reason === undefined ? "" : `, ${reason}`}`,
      ),
    ];
  });
}

function shown(notes: readonly string[], rest: string): readonly string[] {
  const more = notes.length - SHOWN_NOTES;
  return more > 0 ? [...notes.slice(0, SHOWN_NOTES), `and ${counted(more, rest)}`] : notes;
}

function grouped<T>(all: readonly T[], of: (one: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(of(one));
    if (group) group.push(one);
    else groups.set(of(one), [one]);
  }
  return groups;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function line(text: string): string {
  return `${escaped(text)}\n`;
}

function escaped(text: string): string {
  return escapeControl(text, "\\t");
}

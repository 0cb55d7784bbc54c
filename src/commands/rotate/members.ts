/**
 * The servers of a rotation in a few lines, be they three or ten thousand: who runs with a secret, how far they are, and
 * those who are not done, the worst first.
 */
import { hostname } from "node:os";
import type { Acknowledgement, Member } from "../../rotation/contract.ts";

/** The worst first; who has the new value is not among them. */
const NOT_DONE = ["failed", "cannot-swap", "pending", "unknown", "gone"] as const;
const STATES = ["acknowledged", "pending", "failed", "cannot-swap", "gone", "unknown"] as const;
/** So many are told one by one in the plan; more of them, in groups. */
const MOST_NAMED = 5;
const MOST_GROUPS = 12;
const SHOWN_PIDS = 4;

/** Who runs with it now, for the plan. */
export function membersText(members: readonly Member[]): readonly string[] {
  if (members.length === 0) return ["  Nobody on this machine runs with it now."];
  const head = `  ${counted(members.length, "server")} on ${whereabouts(members)} ${members.length === 1 ? "runs" : "run"} with it:`;
  const stuck = members.filter(({ canSwap }) => !canSwap);
  return [
    ...(members.length > MOST_NAMED
      ? [head, ...groupsOf(members)]
      : [`${head} ${members.map(named).join(", ")}`]),
    ...stuck.slice(0, MOST_NAMED).map((one) => `  ${named(one)} can't change its server while it runs`),
    ...andMore(stuck.length - MOST_NAMED, "like that"),
  ];
}

/** `48 acknowledged, 2 failed, on 3 hosts` */
export function tally(acknowledgements: readonly Acknowledgement[]): string {
  if (acknowledgements.length === 0) return "nobody to wait for";
  const counts = new Map<string, number>();
  for (const { state } of acknowledgements) counts.set(state, (counts.get(state) ?? 0) + 1);
  const parts = STATES.flatMap((state) => {
    const count = counts.get(state);
    return count === undefined ? [] : [`${number(count)} ${state}`];
  });
  const hosts = hostsOf(acknowledgements);
  return `${parts.join(", ")}${hosts > 1 ? `, on ${number(hosts)} hosts` : ""}`;
}

/**
 * Those who do not have it, with the reason; alike ones of a host in one line.
 *
 * @param most lines, and one more for how many others there are
 */
export function notDoneText(acknowledgements: readonly Acknowledgement[], most: number): readonly string[] {
  const groups = grouped(
    acknowledgements.filter(({ state }) => state !== "acknowledged"),
    ({ host, profile, state, reason }) => JSON.stringify([host, profile, state, reason]),
  ).sort(([one], [other]) => NOT_DONE.indexOf(rank(one)) - NOT_DONE.indexOf(rank(other)));
  const lines = groups.slice(0, most).map((group) => `    ${groupText(group)}`);
  const others = groups.slice(most).flat();
  return [
    ...lines,
    ...(others.length > 0
      ? [`    and ${counted(others.length, "more")}, on ${counted(hostsOf(others), "host")}`]
      : []),
  ];
}

/** `github on host7 (pid 4711)` */
export function whoIs({ profile, host, pid }: Pick<Member, "profile" | "host" | "pid">): string {
  // Of a host that says nothing, no more is known than that it should be there.
  return pid === 0 ? host : `${profile} on ${host} (pid ${pid})`;
}

/** `1,234` */
export function number(count: number): string {
  return count.toLocaleString("en-US");
}

function groupText(group: readonly Acknowledgement[]): string {
  const [first] = group;
  if (!first) throw new Error("a group has somebody in it");
  const { profile, host, state, reason } = first;
  const who = group.length === 1 ? whoIs(first) : `${profile} on ${host} (${number(group.length)} servers)`;
  return `${who}: ${state}${reason === undefined ? "" : `, ${reason}`}`;
}

function rank(acknowledgement: Acknowledgement | undefined): (typeof NOT_DONE)[number] {
  return (acknowledgement?.state ?? "gone") as (typeof NOT_DONE)[number];
}

/** By profile and host; if that is too many, by profile. */
function groupsOf(members: readonly Member[]): readonly string[] {
  const narrow = grouped(members, ({ profile, host }) => JSON.stringify([profile, host]));
  const isFew = narrow.length <= MOST_GROUPS;
  const groups = isFew ? narrow : grouped(members, ({ profile }) => profile);
  const isElsewhere = members.some(({ host }) => host !== hostname());
  const lines = groups.slice(0, MOST_GROUPS).map((group) => {
    const where = isElsewhere
      ? ` on ${hostsOf(group) === 1 ? group[0]?.host : counted(hostsOf(group), "host")}`
      : "";
    return `    ${group[0]?.profile}${where}: ${number(group.length)}${hostsOf(group) === 1 ? pidsOf(group) : ""}`;
  });
  return [...lines, ...andMore(groups.length - MOST_GROUPS, "profiles")];
}

function pidsOf(members: readonly Member[]): string {
  const shown = members.slice(0, SHOWN_PIDS).map(({ pid }) => pid);
  return ` (pid ${shown.join(", ")}${members.length > SHOWN_PIDS ? ", …" : ""})`;
}

function named({ profile, host, pid }: Member): string {
  return host === hostname() ? `${profile} (pid ${pid})` : whoIs({ profile, host, pid });
}

function whereabouts(members: readonly Member[]): string {
  const isHere = members.every(({ host }) => host === hostname());
  return isHere ? "this machine" : counted(hostsOf(members), "host");
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string): (readonly T[])[] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return [...groups.values()];
}

function hostsOf(members: readonly Member[]): number {
  return new Set(members.map(({ host }) => host)).size;
}

function andMore(count: number, what: string): readonly string[] {
  return count > 0 ? [`    and ${number(count)} more ${what}`] : [];
}

function counted(count: number, thing: string): string {
  return `${number(count)} ${thing}${count === 1 || thing === "more" ? "" : "s"}`;
}

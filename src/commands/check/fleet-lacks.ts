/** What a host may not do on the bus, said of the secret, or of what else, that suffers from it. */
import { LONGEST_REPORT } from "../../control/bus/messages.ts";
import { hostInbox, hostToken, subjects } from "../../control/bus/names.ts";
import { lackOfRoom, WANTED_ROOM } from "../../control/bus/room.ts";
import type { BusTrial, RefusedSubject } from "../../control/bus/trial.ts";
import { shellWord } from "../../shell-word.ts";
import type { SharedSecrets } from "../fleet/shared-secrets.ts";
import type { Finding } from "./result.ts";

export interface WhoAsked {
  readonly host: string;
  readonly profile: string;
  readonly shared: SharedSecrets;
}

/** One finding for each of them, whatever the number of subjects. */
export function lacksOf({ refused, unanswered, tightest }: BusTrial, who: WhoAsked): readonly Finding[] {
  const { host, profile, shared } = who;
  const cramped = tightest ? lacksOfRoom(tightest) : [];
  const mine = `\`fleet.credentials\` of the user of ${host}, or the \`fleet.host\` whose user that is`;
  const permissions = `mcp-run fleet permissions ${shellWord(profile)} --host ${shellWord(host)} (with every profile that it runs), and its lines in the server's configuration`;
  const things = [
    ...[...shared].map(([key, [{ from }]]) => ({
      what: `new values of ${from} can't be told to this host`,
      has: (subject: string) =>
        [subjects.entry, subjects.call, subjects.stored].some((of) => of(key) === subject),
      hint: permissions,
    })),
    {
      what: "this host can't be called",
      has: (subject: string) => subject === subjects.callAll,
      hint: permissions,
    },
    {
      what: "this host can't report",
      has: (subject: string) => subject.startsWith(`mcp-run.host.${hostToken(host)}.`),
      hint: mine,
    },
    {
      what: "this host can't be answered",
      has: (subject: string) => subject.startsWith(`${hostInbox(host)}.`),
      hint: mine,
    },
  ];
  const denied = things.flatMap(({ what, has, hint }): Finding[] => {
    const of = refused.filter(({ subject }) => has(subject));
    if (of.length === 0) return [];
    const message = `${what} in the fleet: the server does not let ${host} ${subjectsText(of)}`;
    return [{ severity: "error", message, hint, code: "access-denied" }];
  });
  if (!unanswered) return [...denied, ...cramped];
  const { reason, hint } = unanswered;
  const message = `Cannot read what the fleet's bus keeps: ${reason}`;
  return [...denied, ...cramped, { severity: "error", message, hint, code: "backend-unavailable" }];
}

/** A host is heard as long as its longest report fits; longer are only entries, which the operator puts. */
function lacksOfRoom({ server, room }: NonNullable<BusTrial["tightest"]>): readonly Finding[] {
  if (room >= WANTED_ROOM) return [];
  if (room >= LONGEST_REPORT) {
    const { reason, hint } = lackOfRoom(server, room, "an entry can be longer");
    return [{ severity: "warning", message: `not every rotation can be told in the fleet: ${reason}`, hint }];
  }
  const { reason, hint } = lackOfRoom(server, room, "a report can be longer");
  const message = `this host may not be heard in the fleet: ${reason}`;
  return [{ severity: "error", message, hint, code: "access-denied" }];
}

function subjectsText(refused: readonly RefusedSubject[]): string {
  return (["subscribe", "publish"] as const)
    .map((operation) => ({ operation, of: refused.filter((one) => one.operation === operation) }))
    .filter(({ of }) => of.length > 0)
    .map(({ operation, of }) => `${operation} to ${of.map(({ subject }) => subject).join(", ")}`)
    .join(" or ");
}

/**
 * What comes after a server that was current and has ended, and what its client is owed for it.
 *
 * | the client's handshake is | answered                      | not answered yet                              |
 * | ------------------------- | ----------------------------- | --------------------------------------------- |
 * | asked to stop             | end                           | end                                           |
 * | another is taking over    | none: that one goes on        | -                                             |
 * | `onCrash: restart`        | restart                       | end, but once «retry» if it died of the probe |
 * | `onCrash: exit`           | end                           | likewise                                      |
 *
 * The probe of a modern client (`server/discover`) ends some older servers; answered with «method not found», the
 * client goes on in the older way.
 */
import { errorResponse, METHOD_NOT_FOUND } from "../relay/error-response.ts";
import type { ClientRequest } from "../relay/ledger.ts";
import type { Session } from "../relay/session.ts";

export type Sequel =
  | { readonly type: "none" }
  | { readonly type: "restart" }
  | { readonly type: "retry" }
  | { readonly type: "end"; readonly endedByItself: boolean };

export interface Circumstances {
  readonly isStopped: boolean;
  /** A change of servers goes on without it. */
  readonly isBeingReplaced: boolean;
  readonly mayRestart: boolean;
  readonly mayRetry: boolean;
}

/** To be asked when everything that it said has been passed on. */
export function sequelOf(session: Session, number: number, circumstances: Circumstances): Sequel {
  const { isStopped, isBeingReplaced, mayRestart, mayRetry } = circumstances;
  if (isStopped) return { type: "end", endedByItself: false };
  if (isBeingReplaced) return { type: "none" };
  const hasShakenHands = session.hasAnswered && session.recall.era !== "undecided";
  if (hasShakenHands) return mayRestart ? { type: "restart" } : { type: "end", endedByItself: true };
  const asked = session.unanswered(number);
  const diedOfProbe = asked.length === 1 && asked[0]?.method === "server/discover";
  return diedOfProbe && mayRetry ? { type: "retry" } : { type: "end", endedByItself: true };
}

export interface Debts {
  /** What the client is told now. */
  readonly lines: readonly Buffer[];
  /** What somebody else has to answer: only if no server has ever answered. */
  readonly unanswered: readonly ClientRequest[];
}

/** Settles what the server owed; afterwards the session knows it no more. */
export function debtsOf(session: Session, number: number, sequel: Sequel, successor: number): Debts {
  if (sequel.type === "retry") {
    const answers = session
      .takeUnanswered(number)
      .map(({ id }) => errorResponse(id, "Method not found", METHOD_NOT_FOUND));
    return { lines: [...answers, ...session.over(number, "")], unanswered: [] };
  }
  if (sequel.type !== "end") {
    return { lines: session.over(number, `server restarted, generation ${successor}`), unanswered: [] };
  }
  if (session.hasAnswered) {
    const reason = "the server has ended";
    return { lines: [...session.over(number, reason), ...session.refuseHeld(reason)], unanswered: [] };
  }
  const unanswered = [...session.takeUnanswered(number), ...session.takeHeld()];
  return { lines: session.over(number, ""), unanswered };
}

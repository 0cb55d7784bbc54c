/** Asks the supervisors of this machine to hold their clients' new requests while the key that they have is ended. */
import type { Clock } from "../../clock.ts";
import { type Outcome, type Question, tryToAsk } from "../../control/client.ts";
import { type ControlPlace, listEndpoints } from "../../control/endpoint.ts";
import type { Holder, Member, SecretInUse } from "../contract.ts";
import { questionOf } from "./follower.ts";
import { Turns } from "./turns.ts";

/** Ms: what they allow themselves as long as clients wait for an answer. */
export const HOLD_MS = 45_000;
/** Ms for one answer: each looks for the candidate itself, and lets finish what is under way. */
const ANSWER_MS = 12_000;
const MOST_AT_ONCE = 256;

export interface HoldingOptions {
  readonly place: ControlPlace;
  readonly clock: Clock;
  readonly rotation: string;
}

/** Whether each holds; one that has gone is left out. @param members who uses one of these */
export async function holdRequests(
  { place, clock, rotation }: HoldingOptions,
  members: readonly Member[],
  secrets: readonly SecretInUse[],
  signal: AbortSignal,
): Promise<readonly Holder[]> {
  const endpoints = new Map(listEndpoints(place).map((endpoint) => [endpoint.pid, endpoint]));
  const question: Question<"hold"> = { type: "hold", rotation, ...questionOf(secrets), forMs: HOLD_MS };
  const turns = new Turns(MOST_AT_ONCE);
  const asked = members.map(async (member): Promise<Holder | undefined> => {
    const endpoint = endpoints.get(member.pid);
    if (!endpoint) return undefined;
    const outcome = await turns.take(() =>
      tryToAsk(endpoint, question, { timeoutMs: ANSWER_MS, clock, signal }),
    );
    if (outcome.type === "absent") return undefined;
    const reason = whyNot(outcome);
    return { ...member, holds: reason === undefined, ...(reason !== undefined && { reason }) };
  });
  return (await Promise.all(asked)).filter((holder) => holder !== undefined);
}

function whyNot(outcome: Exclude<Outcome<"hold">, { type: "absent" }>): string | undefined {
  if (outcome.type === "silent") return outcome.reason;
  if (outcome.type === "refused") {
    const { code, message } = outcome.error;
    return code === "unsupported" ? "it is of an earlier version of mcp-run" : message;
  }
  const { accepted, holds, reason = "it does not say why" } = outcome.answer;
  if (!accepted) return "it has the value by another ref, beside which there is no new one";
  return holds ? undefined : reason;
}

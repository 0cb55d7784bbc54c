/** Telling everybody, and waiting until nobody needs what was there before; where somebody does, a person decides. */
import { isDeepStrictEqual } from "node:util";
import type { Acknowledgement, Wanted } from "../contract.ts";
import type { Facts } from "../journal/journal-line.ts";
import type { Run } from "../run.ts";
import type { Replaced } from "./standing.ts";

/** There, and without the new value. */
const BLOCKING: ReadonlySet<Acknowledgement["state"]> = new Set(["pending", "failed", "cannot-swap"]);

const NAMED_IN_NOTES = 10;

interface Look {
  readonly wanted: readonly Wanted[];
  /** What somebody else has replaced, by the part's name. */
  readonly replaced: ReadonlyMap<string, Pick<Replaced, "reason">>;
}

/** How often others may change what is wanted before somebody is asked what to do. */
const MOST_CHANGES = 3;

/**
 * @param look what they are to have now
 * @param value what that is: `the new value`
 */
export async function spread(
  run: Run,
  look: () => Promise<Look>,
  value: string,
  signal: AbortSignal,
): Promise<Facts> {
  const { fleet, ackTimeoutMs, missingOk, emit } = run.deps;
  const key = Buffer.from(run.plan.key, "base64url");
  let { wanted, replaced } = await look();
  for (let changes = 0; ; ) {
    const found = await fleet.spread(wanted, key, ackTimeoutMs, signal, (acknowledgements) =>
      emit({ type: "acknowledgements", acknowledgements }),
    );
    emit({ type: "acknowledgements", acknowledgements: found });
    const acknowledgements = found.map(written);
    const isWaitedFor = (host: string) => !missingOk.includes(host) && !missingOk.includes("*");
    const members = found.filter(({ state, host }) => BLOCKING.has(state) && isWaitedFor(host));
    noteUnknown(run, found);
    const parts = [...replaced].map(([name, { reason }]) => ({ name, reason }));
    const known = { acknowledgements, ...(parts.length > 0 && { parts }) };
    if (members.length === 0) return known;
    const before = wanted;
    ({ wanted, replaced } = await look());
    if (changes++ < MOST_CHANGES && !isDeepStrictEqual(wanted, before)) continue;
    const reason = whoLacks(found, members, value);
    const answer = await run.ask({ type: "not-acknowledged", members }, signal);
    if (answer === "stop") return { ...known, isDone: false, reason };
    if (answer === "again") continue;
    run.note(`${reason}, and it went on without them`);
    return { ...known, reason };
  }
}

/** Where the bus itself is in the way, that is said of it, and not of a supervisor. */
function whoLacks(
  found: readonly Acknowledgement[],
  members: readonly Acknowledgement[],
  value: string,
): string {
  const all = found.filter(isSupervisor).length;
  const count = members.filter(isSupervisor).length;
  const others = members.filter((one) => !isSupervisor(one));
  return [
    ...(count > 0 ? [`${count} of ${all} supervisors ${count === 1 ? "does" : "do"} not have ${value}`] : []),
    ...others.map(({ host, reason = "it is in the way" }) => `${host}: ${reason}`),
  ].join("; ");
}

/** What stands for many has no process. */
function isSupervisor({ pid }: Acknowledgement): boolean {
  return pid > 0;
}

/** A few by name; all of them are in the journal. */
function noteUnknown(run: Run, found: readonly Acknowledgement[]): void {
  const unknown = found.filter(({ state }) => state === "unknown");
  for (const { host, profile, reason } of unknown.slice(0, NAMED_IN_NOTES)) {
    const why = reason === undefined ? "" : ` (${reason})`;
    run.note(`nothing is known of ${profile === "?" ? host : `${profile} on ${host}`}${why}`);
  }
  const more = unknown.length - NAMED_IN_NOTES;
  if (more > 0) run.note(`nothing is known of ${more} more`);
}

function written({ host, pid, profile, generation, canSwap, state, reason }: Acknowledgement) {
  return { host, pid, profile, generation, canSwap, state, ...(reason !== undefined && { reason }) };
}

/**
 * One supervisor of the fleet as it is heard over the bus, from the word that there is something new until its server
 * has it. Only what it says itself counts, and the last of it: silence is never taken for anything.
 *
 *   unknown  -> heard in an earlier time, and not now
 *   pending  -> acknowledged | failed | cannot-swap | gone, and back where it says so
 */
import type { ReportedSecret } from "../../control/bus/messages.ts";
import type { HeardReport } from "../../control/bus/operator.ts";
import type { Acknowledgement, Member } from "../contract.ts";
import { type BusGoal, documentPath, mayBeAmong, type Sought, type SoughtPaths } from "./bus-goals.ts";

/** What its server has to have, by the key of the secret on the bus. */
export type KeyedGoals = ReadonlyMap<string, Pick<BusGoal, "fingerprint" | "oldLeases">>;

const MEND_OF_TWO_ADDRESSES =
  "can't be told: have it by one address everywhere, or give another environment an account of its own on the bus";

export class HeardMember {
  #last: HeardReport;
  #isHere: boolean;

  /** @param isHere it has been heard since we listen */
  constructor(report: HeardReport, isHere: boolean) {
    this.#last = report;
    this.#isHere = isHere;
  }

  /** For one life of a supervisor, on whichever host. */
  static idOf({ host, instance }: Pick<HeardReport, "host" | "instance">): string {
    return `${host} ${instance}`;
  }

  get id(): string {
    return HeardMember.idOf(this.#last);
  }

  get isHere(): boolean {
    return this.#isHere;
  }

  get instance(): string {
    return this.#last.instance;
  }

  get host(): string {
    return this.#last.host;
  }

  get pid(): number {
    return this.#last.pid;
  }

  get heardAt(): number {
    return this.#last.heardAt;
  }

  get hasEnded(): boolean {
    return this.#last.state === "ended";
  }

  /** What comes now is later than all before, whatever our clocks say. */
  hear(report: HeardReport): void {
    this.#last = report;
    this.#isHere = true;
  }

  get pidSpace(): string | undefined {
    return this.#last.pidSpace;
  }

  /** Also true for one that may, and does not say. */
  uses({ keys, paths, lent }: Sought): boolean {
    const isOneOf = (secret: ReportedSecret) =>
      keys.has(secret.key) ||
      mayBeAmong(paths, secret) ||
      (lent.size > 0 && lent.has(documentPath(secret.ref)));
    return this.#last.secrets.some(isOneOf) || this.#mayHideOne(keys);
  }

  #mayHideOne(keys: { has(key: string): boolean }): boolean {
    const { more = [], secretsLeftOut = 0, isUnreadable = false } = this.#last;
    return isUnreadable || secretsLeftOut > 0 || more.some((key) => keys.has(key));
  }

  get report(): HeardReport {
    return this.#last;
  }

  get member(): Member {
    const { host, pid, profile, generation, instance, mode, pidSpace } = this.#last;
    const canSwap = mode !== "never" && mode !== "exec";
    const known = { host, pid, profile, generation, canSwap, instance };
    return { ...known, ...(pidSpace !== undefined && { pidSpace }) };
  }

  /** @param paths see Sought */
  acknowledgement(goals: KeyedGoals, rotation: string, paths: SoughtPaths = new Map()): Acknowledgement {
    const { state, reason } = this.#conclusion(goals, rotation, paths);
    return { ...this.member, state, ...(reason !== undefined && { reason }) };
  }

  /** Ids of the old leases that its server has, as far as it has said so. */
  oldLeases(goals: KeyedGoals): readonly string[] {
    const ids = this.#last.secrets.flatMap(({ key, leases = [], under }) => {
      const old = goals.get(key)?.oldLeases;
      return old && old.under === under ? leases.map((fingerprint) => old.ids.get(fingerprint)) : [];
    });
    return [...new Set(ids.filter((id) => id !== undefined))];
  }

  #conclusion(
    goals: KeyedGoals,
    rotation: string,
    paths: SoughtPaths,
  ): Pick<Acknowledgement, "state" | "reason"> {
    const wanted = this.#last.secrets.filter(({ key }) => goals.has(key));
    const isWanted = (secret: ReportedSecret) => isProven(secret, goals.get(secret.key));
    const isUnclear = this.#mayHideOne(goals);
    const isElsewhere = this.#last.secrets.some(
      (secret) => !goals.has(secret.key) && mayBeAmong(paths, secret),
    );
    if (wanted.length > 0 && wanted.every(isWanted) && !isUnclear && !isElsewhere)
      return { state: "acknowledged" };
    if (this.hasEnded) return { state: "gone", reason: "it has ended" };
    if (!this.#isHere)
      return { state: "unknown", reason: `last heard ${new Date(this.#last.heardAt).toISOString()}` };
    if (this.#last.isUnreadable)
      return {
        state: "cannot-swap",
        reason: "what it says can't be read: is it another version of mcp-run?",
      };
    if (isElsewhere || (wanted.length === 0 && !isUnclear))
      return {
        state: "cannot-swap",
        reason: `it has ${isLent(goals) ? "another field of this document, or has it" : "a secret of this path"} by another address, and ${MEND_OF_TWO_ADDRESSES}`,
      };
    if (wanted.some(({ key }) => !canBeTold(goals.get(key))))
      return { state: "failed", reason: "the bus has no room to say what it is to have" };
    const news = wanted.filter((secret) => secret.rotation === rotation && !isWanted(secret));
    if (news.some((secret) => isOfOlder(secret, goals.get(secret.key))))
      return { state: "cannot-swap", reason: "it does not say which lease it has: is it an older mcp-run?" };
    const worst =
      news.find(({ state }) => state === "failed") ??
      news.find(({ state }) => state === "cannot-swap") ??
      news[0];
    switch (worst?.state) {
      case "failed":
        return { state: "failed", reason: worst.reason ?? "its look has failed" };
      case "cannot-swap":
        return { state: "cannot-swap", reason: worst.reason ?? "it can't change its server" };
      case undefined:
        if (isUnclear)
          return { state: "pending", reason: "it has more secrets than it can say something of" };
        return { state: "pending", reason: "it has not heard of the new value yet" };
      default:
        return { state: "pending", reason: worst?.reason ?? "it is looking" };
    }
  }
}

type Goal = Pick<BusGoal, "fingerprint" | "oldLeases">;

/** By what it has, whatever it says of it. */
function isProven({ fingerprint, leases, under }: ReportedSecret, goal: Goal | undefined): boolean {
  const old = goal?.oldLeases;
  if (old) return under === old.under && leases?.some((one) => old.ids.has(one)) === false;
  return fingerprint !== undefined && fingerprint === goal?.fingerprint;
}

function isLent(goals: KeyedGoals): boolean {
  return [...goals.values()].some(({ oldLeases }) => oldLeases !== undefined);
}

function canBeTold(goal: Goal | undefined): boolean {
  return goal?.fingerprint !== undefined || goal?.oldLeases !== undefined;
}

/** It has heard of the rotation, is done in its own view, and knows nothing of leases. */
function isOfOlder({ state, leases, fingerprint }: ReportedSecret, goal: Goal | undefined): boolean {
  if (!goal?.oldLeases || leases || fingerprint === undefined) return false;
  return state === "has" || state === "other";
}

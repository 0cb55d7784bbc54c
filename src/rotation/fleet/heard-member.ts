/**
 * One supervisor of the fleet as it is heard over the bus, from the word that there is something new until its server
 * has it. Only what it says itself counts, and the last of it: silence is never taken for anything.
 *
 *   unknown  -> heard in an earlier time, and not now
 *   pending  -> acknowledged | failed | cannot-swap | gone, and back where it says so
 */
import type { ReportedSecret } from "../../control/bus/messages.ts";
import type { HeardReport } from "../../control/bus/operator.ts";
import type { Acknowledgement } from "../contract.ts";
import { pathOf, type Sought } from "./bus-goals.ts";

/** Fingerprints of what its server has to have, by the key of the secret on the bus; undefined: another lease. */
export type KeyedGoals = ReadonlyMap<string, string | undefined>;

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
  uses({ keys, paths }: Sought): boolean {
    const isOneOf = ({ key, ref }: ReportedSecret) => keys.has(key) || paths.has(pathOf(ref));
    return this.#last.secrets.some(isOneOf) || this.#mayHideOne(keys);
  }

  #mayHideOne(keys: { has(key: string): boolean }): boolean {
    const { more = [], secretsLeftOut = 0, isUnreadable = false } = this.#last;
    return isUnreadable || secretsLeftOut > 0 || more.some((key) => keys.has(key));
  }

  get report(): HeardReport {
    return this.#last;
  }

  acknowledgement(goals: KeyedGoals, rotation: string): Acknowledgement {
    const { host, pid, profile, generation, instance, mode, pidSpace } = this.#last;
    const canSwap = mode !== "never" && mode !== "exec";
    const { state, reason } = this.#conclusion(goals, rotation);
    return {
      host,
      pid,
      profile,
      generation,
      canSwap,
      instance,
      ...(pidSpace !== undefined && { pidSpace }),
      state,
      ...(reason !== undefined && { reason }),
    };
  }

  #conclusion(goals: KeyedGoals, rotation: string): Pick<Acknowledgement, "state" | "reason"> {
    const wanted = this.#last.secrets.filter(({ key }) => goals.has(key));
    const isWanted = ({ key, fingerprint }: (typeof wanted)[number]) =>
      fingerprint !== undefined && fingerprint === goals.get(key);
    const isUnclear = this.#mayHideOne(goals);
    if (wanted.length > 0 && wanted.every(isWanted) && !isUnclear) return { state: "acknowledged" };
    if (this.hasEnded) return { state: "gone", reason: "it has ended" };
    if (!this.#isHere)
      return { state: "unknown", reason: `last heard ${new Date(this.#last.heardAt).toISOString()}` };
    if (this.#last.isUnreadable)
      return {
        state: "cannot-swap",
        reason: "what it says can't be read: is it another version of mcp-run?",
      };
    if (wanted.length === 0 && !isUnclear)
      return {
        state: "cannot-swap",
        reason: "it has a secret of this path by another address, and can't be told",
      };
    if (wanted.some(({ key }) => goals.get(key) === undefined))
      return { state: "failed", reason: "a new lease can be asked for only on its own machine" };
    const news = wanted.filter((secret) => secret.rotation === rotation && !isWanted(secret));
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

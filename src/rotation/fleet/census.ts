/**
 * Who is on the bus, who was, and who should be. Who was heard once and says nothing now is absent until he takes leave:
 * nobody is forgotten for being silent.
 */
import { type Clock, pause } from "../../clock.ts";
import type { BusOperator, CallWindow, HeardReport } from "../../control/bus/operator.ts";
import { McpRunError } from "../../errors.ts";
import type { Acknowledgement } from "../contract.ts";
import type { Sought } from "./bus-goals.ts";
import { HeardMember, type KeyedGoals } from "./heard-member.ts";

/** What of the operator is needed here. */
export type Bus = Pick<BusOperator, "call" | "history" | "put" | "onReport"> &
  Partial<Pick<BusOperator, "isFull" | "askToHold">>;

export interface CensusOptions {
  readonly bus: Omit<Bus, "put">;
  readonly clock: Clock;
  /** Which hosts there should be. */
  readonly inventory: readonly string[];
  /** Who is connected answers within it. */
  readonly window: CallWindow;
  /** Ms for which what the bus refuses is asked again; without it a refusal is told at once. */
  readonly insistMs?: number;
}

export interface SilentHost {
  readonly host: string;
  /** Wall-clock ms; undefined for never. */
  readonly heardAt: number | undefined;
}

/** Supervisors of one host that are told apart: it could invent them without an end. */
const MOST_OF_ONE_HOST = 4_096;
/** Ms before what the bus did not take is said to it again. */
const AGAIN_MS = 1_000;

export class Census {
  readonly #sought: Sought | undefined;
  readonly #inventory: readonly string[];
  readonly #all = new Map<string, HeardMember>();
  /** How many there are of each host. */
  readonly #counts = new Map<string, number>();
  #isOfAll = true;
  #stop: () => void = () => undefined;
  #news: () => void = () => undefined;

  /**
   * Listens until it is ended. Rejects with McpRunError, or with the signal's reason.
   *
   * @param sought only who has one of these secrets counts; without it everybody does
   */
  static async take(
    { bus, clock, inventory, window, insistMs = 0 }: CensusOptions,
    sought: Sought | undefined,
    signal: AbortSignal,
  ): Promise<Census> {
    const census = new Census(sought, inventory);
    census.#stop = bus.onReport((report) => census.#hear(report, true));
    try {
      const history = await insist(clock, insistMs, signal, () => bus.history(signal));
      for (const report of history) census.#hear(report, false);
      census.#isOfAll = bus.isFull !== true;
      await insist(clock, insistMs, signal, () => bus.call(window, signal));
      return census;
    } catch (error) {
      census.end();
      throw error;
    }
  }

  private constructor(sought: Sought | undefined, inventory: readonly string[]) {
    this.#sought = sought;
    this.#inventory = inventory;
  }

  /** Called at each report from now on. */
  set onNews(news: () => void) {
    this.#news = news;
  }

  end(): void {
    this.#stop();
  }

  /** Whoever is not, beyond the bound of one host, has said things that nobody keeps. */
  knows(id: string): boolean {
    return this.#all.has(id);
  }

  /** Those who have been heard since, have one of the secrets, and have not ended. */
  get present(): readonly HeardMember[] {
    return this.#members.filter((member) => member.isHere && !member.hasEnded);
  }

  /** Those who were heard once, have not taken leave, and say nothing now. */
  get absent(): readonly HeardMember[] {
    const latest = this.#latest();
    return this.#members.filter((member) => !member.isHere && latest.get(lifeOf(member)) === member);
  }

  get #members(): readonly HeardMember[] {
    const all = [...this.#all.values()];
    const sought = this.#sought;
    return sought ? all.filter((member) => member.uses(sought)) : all;
  }

  /** Of everybody who has one of the secrets; and of the hosts of which nothing is heard. */
  acknowledgements(goals: KeyedGoals, rotation: string): readonly Acknowledgement[] {
    const counted = [...this.#members.filter(({ isHere }) => isHere), ...this.absent];
    return [
      ...counted.map((member) => member.acknowledgement(goals, rotation, this.#sought?.paths)),
      ...this.silentHosts.map(silentHost),
      ...[...this.#counts].flatMap(([host, count]) => (count > MOST_OF_ONE_HOST ? [crowdedHost(host)] : [])),
      ...(this.#isOfAll ? [] : [FULL_BUS]),
    ];
  }

  /** Hosts that there should be, of which nobody is heard now and nobody is among the absent. */
  get silentHosts(): readonly SilentHost[] {
    const here = new Set(this.absent.map(({ host }) => host));
    const heardAt = new Map<string, number>();
    for (const member of this.#all.values()) {
      if (member.isHere) here.add(member.host);
      heardAt.set(member.host, Math.max(heardAt.get(member.host) ?? 0, member.heardAt));
    }
    return this.#inventory
      .filter((host) => !here.has(host))
      .map((host) => ({ host, heardAt: heardAt.get(host) }));
  }

  #hear(report: HeardReport, isNow: boolean): void {
    const id = HeardMember.idOf(report);
    const known = this.#all.get(id);
    if (!known) this.#add(id, report, isNow);
    else if (isNow) known.hear(report);
    if (isNow) this.#news();
  }

  #add(id: string, report: HeardReport, isNow: boolean): void {
    const count = (this.#counts.get(report.host) ?? 0) + 1;
    this.#counts.set(report.host, count);
    if (count <= MOST_OF_ONE_HOST) this.#all.set(id, new HeardMember(report, isNow));
  }

  /** Of each process the one that was heard last and has not taken leave: one with its pid has taken its place. */
  #latest(): ReadonlyMap<string, HeardMember> {
    const latest = new Map<string, HeardMember>();
    for (const member of this.#all.values()) {
      const known = latest.get(lifeOf(member));
      const isLater = member.isHere || (!known?.isHere && (known?.heardAt ?? 0) < member.heardAt);
      if (!known || isLater) latest.set(lifeOf(member), member);
    }
    for (const [life, member] of latest) if (member.hasEnded) latest.delete(life);
    return latest;
  }
}

/** Two machines, or two containers, may have one name and the same pids: then none can take the other's place. */
function lifeOf({ host, pid, pidSpace, instance }: HeardMember): string {
  return pidSpace === undefined ? `${host} ${instance}` : `${host} ${pidSpace} ${pid}`;
}

function crowdedHost(host: string): Acknowledgement {
  const reason = `it names more than ${MOST_OF_ONE_HOST} supervisors, and not all of them were looked at`;
  return { host, pid: 0, profile: "?", generation: 0, canSwap: false, state: "cannot-swap", reason };
}

/** Of those who are not connected. */
const FULL_BUS: Acknowledgement = {
  ...{ host: "the fleet's bus", pid: 0, profile: "?", generation: 0, canSwap: true, state: "unknown" },
  reason: "its stream mcp-run-hosts is full, so that whoever began since then is forgotten when he goes",
};

function silentHost({ host, heardAt }: SilentHost): Acknowledgement {
  const reason = heardAt === undefined ? "never heard" : `last heard ${new Date(heardAt).toISOString()}`;
  return { host, pid: 0, profile: "?", generation: 0, canSwap: true, state: "unknown", reason };
}

/** The bus may be changing its servers at this moment. */
export async function insist<T>(
  clock: Clock,
  forMs: number,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = clock.monotonic() + forMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const mayPass = error instanceof McpRunError && error.code === "backend-unavailable";
      if (!mayPass || clock.monotonic() >= deadline || signal.aborted) throw error;
      await pause(clock, AGAIN_MS, signal);
    }
  }
}

/** This machine by its sockets, and all others by the bus. One supervisor that is heard both ways is one. */
import type { Clock } from "../../clock.ts";
import { inTime } from "../../secrets/in-time.ts";
import type {
  Acknowledgement,
  Fleet,
  Holder,
  LeaseHolder,
  Member,
  SecretInUse,
  Wanted,
} from "../contract.ts";
import { lostBus, lostHolder } from "./lost-bus.ts";

export interface WholeFleetOptions {
  readonly local: Fleet;
  readonly clock: Clock;
  /** Rejects with McpRunError where the bus can't be reached. */
  readonly bus: (signal: AbortSignal) => Promise<Fleet>;
  /** This machine's name on the bus. */
  readonly host: string;
  /** Where pids mean what they mean to us; without it nobody is known by his pid. */
  readonly pidSpace: string | undefined;
  /** Whether there is such a process on this machine. */
  readonly isRunning: (pid: number) => boolean;
}

/** The state of one that is heard in two ways: what is proven counts, then what is in the way. */
const BY_WEIGHT: readonly Acknowledgement["state"][] = [
  "acknowledged",
  "failed",
  "cannot-swap",
  "gone",
  "pending",
  "unknown",
];

/** Ms for asking others to hold, which includes that the bus may have to be found first. */
const HOLD_MS = 21_000;

export class WholeFleet implements Fleet {
  readonly #options: WholeFleetOptions;

  constructor(options: WholeFleetOptions) {
    this.#options = options;
  }

  async list(secrets: readonly SecretInUse[], signal: AbortSignal, key: Buffer): Promise<readonly Member[]> {
    const { local, bus } = this.#options;
    const [here, everywhere] = await Promise.all([
      local.list(secrets, signal, key),
      bus(signal).then((fleet) => fleet.list(secrets, signal, key)),
    ]);
    const same = sameAmong(here, this.#options);
    const hasGone = (member: Member) => member.isSilent === true && this.#hasGone(member);
    return [...here, ...everywhere.filter((member) => !same(member) && !hasGone(member))];
  }

  /** Those on this machine are told whether or not the others can be. */
  async spread(
    wanted: readonly Wanted[],
    key: Buffer,
    timeoutMs: number,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ): Promise<readonly Acknowledgement[]> {
    const { local, bus } = this.#options;
    let [here, everywhere]: (readonly Acknowledgement[])[] = [[], []];
    const tell = () => onProgress(this.#together(here ?? [], everywhere ?? []));
    const [first, second] = await Promise.allSettled([
      local.spread(wanted, key, timeoutMs, signal, (acknowledgements) => {
        here = acknowledgements;
        tell();
      }),
      bus(signal).then((fleet) =>
        fleet.spread(wanted, key, timeoutMs, signal, (acknowledgements) => {
          everywhere = acknowledgements;
          tell();
        }),
      ),
    ]);
    if (first.status === "rejected") throw first.reason;
    const heard = second.status === "fulfilled" ? second.value : [lostBus(second.reason, signal)];
    return this.#together(first.value, heard);
  }

  /** Where the bus fails, somebody of whom nothing is known may have any of them. */
  async leaseHolders(
    wanted: readonly Wanted[],
    key: Buffer,
    signal: AbortSignal,
  ): Promise<readonly LeaseHolder[]> {
    const { local, bus } = this.#options;
    const [first, second] = await Promise.allSettled([
      local.leaseHolders?.(wanted, key, signal),
      bus(signal).then((fleet) => fleet.leaseHolders?.(wanted, key, signal)),
    ]);
    if (first.status === "rejected") throw first.reason;
    const here = first.value ?? [];
    if (second.status === "rejected") {
      const { state: _state, ...lost } = lostBus(second.reason, signal);
      const leases = [...new Set(wanted.flatMap(({ oldLeases = [] }) => oldLeases))];
      return [...here, { ...lost, leases }];
    }
    const same = sameAmong(here, this.#options);
    return [...here, ...(second.value ?? []).filter((holder) => !same(holder))];
  }

  /** Where the bus fails, it stands for all who could not be asked. One that is asked both ways holds if it says so once. */
  async hold(secrets: readonly SecretInUse[], key: Buffer, signal: AbortSignal): Promise<readonly Holder[]> {
    const { local, bus, clock } = this.#options;
    const [first, second] = await Promise.allSettled([
      local.hold?.(secrets, key, signal),
      inTime({ clock, limitMs: HOLD_MS, signal, hint: "when the bus answers" }, async (either) =>
        (await bus(either)).hold?.(secrets, key, either),
      ),
    ]);
    if (first.status === "rejected") throw first.reason;
    const here = first.value ?? [];
    if (second.status === "rejected") return [...here, lostHolder(second.reason, signal)];
    const everywhere = second.value ?? [];
    const same = sameAmong(here, this.#options);
    const holding = new Map(everywhere.flatMap((one) => (one.holds ? [[same(one), one]] : [])));
    const others = everywhere.filter((one) => !same(one) && !(one.isSilent && this.#hasGone(one)));
    return [...here.map((one) => holding.get(one) ?? one), ...others];
  }

  #together(
    here: readonly Acknowledgement[],
    everywhere: readonly Acknowledgement[],
  ): readonly Acknowledgement[] {
    const same = sameAmong(here, this.#options);
    const proven = new Map<Acknowledgement, Acknowledgement>();
    const others: Acknowledgement[] = [];
    for (const one of everywhere) {
      const known = same(one);
      if (known) proven.set(known, weightOf(one) < weightOf(known) ? one : known);
      else if (one.state === "unknown" && this.#hasGone(one))
        others.push({ ...one, state: "gone", reason: "there is no such process" });
      else others.push(one);
    }
    return [...here.map((one) => proven.get(one) ?? one), ...others];
  }

  /** Of this machine more is known than that it is silent. */
  #hasGone(member: Member): boolean {
    return isOurs(member, this.#options) && member.pid > 0 && !this.#options.isRunning(member.pid);
  }
}

type Here = Pick<WholeFleetOptions, "host" | "pidSpace">;

/** Whether its pid means a process that we can see: a container can have this machine's name, and pids of its own. */
function isOurs({ host, pidSpace }: Member, here: Here): boolean {
  return host === here.host && pidSpace !== undefined && pidSpace === here.pidSpace;
}

/** Finds who of this machine it is. One that says nothing by its socket is known by its process alone. */
function sameAmong<One extends Member>(all: readonly One[], here: Here) {
  const byLife = new Map(all.map((one) => [one.instance ?? one.pid, one]));
  return (one: Member): One | undefined => {
    const known = one.host === here.host && one.instance !== undefined && byLife.get(one.instance);
    return known || (isOurs(one, here) ? byLife.get(one.pid) : undefined);
  };
}

function weightOf({ state }: Acknowledgement): number {
  return BY_WEIGHT.indexOf(state);
}

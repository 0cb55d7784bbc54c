/**
 * The supervisors of other machines, by way of the bus. What is put there says only that there is something new: each
 * fetches it by itself and proves it with a fingerprint. Who was heard once and says nothing now is named, and is
 * never taken for done.
 *
 *   who is there? -> a first wave -> all of it has the new value -> everybody -> all have it, or the time is over
 */
import { type Clock, pause, untilAborted } from "../../clock.ts";
import { writeOldLeases } from "../../control/bus/old-leases.ts";
import { McpRunError } from "../../errors.ts";
import type { SecretName } from "../../secrets/identity.ts";
import type {
  Acknowledgement,
  Fleet,
  Holder,
  LeaseHolder,
  Member,
  SecretInUse,
  Wanted,
} from "../contract.ts";
import { type BusGoal, goalsOf, soughtFor } from "./bus-goals.ts";
import { type BusHoldingOptions, holdOverBus } from "./bus-holding.ts";
import { Census, insist } from "./census.ts";
import { HeardMember, type KeyedGoals } from "./heard-member.ts";
import { lostBus } from "./lost-bus.ts";
import { isInWave, LEASE_RATE, type Wave, wavesOf } from "./waves.ts";

export interface BusFleetOptions extends BusHoldingOptions {
  /** Whoever is heard is added. */
  readonly met: Set<string>;
}

/** Who is connected answers within this window. */
const CALL = { forMs: 5_000, quietMs: 1_000 } as const;
/** Ms that whoever has not answered the call has to say something all the same. */
const SILENCE_MS = 5_000;
/** Ms within which a supervisor tries the bus again. */
const COMEBACK_MS = 50_000;
/** Ms between two calls while it is waited, for reports that were lost. */
const CALL_EVERY_MS = 10_000;
/** Secrets that are called for at the same time: a supervisor may have them all, and answers a few calls a second. */
const CALLS_AT_ONCE = 4;
/** Ms for which the bus is asked again: a cluster may be electing a leader. */
const INSIST_MS = 20_000;
/** Ms between two words of progress: with 10,000 supervisors each costs a walk over all of them. */
const PROGRESS_MS = 250;

export class BusFleet implements Fleet {
  readonly #options: BusFleetOptions;

  constructor(options: BusFleetOptions) {
    this.#options = options;
  }

  /** Who answers now; who was heard in the last 30 days and does not, with `silentSince`. */
  async list(secrets: readonly SecretName[], signal: AbortSignal): Promise<readonly Member[]> {
    const sought = soughtFor(this.#shared(secrets));
    if (sought.keys.size === 0) return [];
    const census = await Census.take({ ...this.#options, window: CALL }, sought, signal);
    census.end();
    for (const member of census.present) this.#options.met.add(member.id);
    return census.acknowledgements(new Map(), "").map(({ state, reason: _reason, ...member }) => ({
      ...member,
      ...(state === "unknown" && { isSilent: true as const }),
    }));
  }

  /** See Fleet. Where the bus fails, that is an answer of its own, beside those that have come. */
  async spread(
    wanted: readonly Wanted[],
    key: Buffer,
    timeoutMs: number,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ): Promise<readonly Acknowledgement[]> {
    const shared = this.#shared(wanted);
    if (shared.length === 0) return [];
    let census: Census;
    try {
      const options = { ...this.#options, window: CALL, insistMs: INSIST_MS };
      census = await Census.take(options, soughtFor(shared), signal);
    } catch (error) {
      return [lostBus(error, signal)];
    }
    const spreading = new Spreading(this.#options, census, shared, key, signal, onProgress);
    try {
      return await spreading.run(timeoutMs);
    } finally {
      census.end();
      for (const { id } of census.present) this.#options.met.add(id);
    }
  }

  /** See Fleet: what each has said last, of those who answer, and of those who have answered this process before. */
  async leaseHolders(
    wanted: readonly Wanted[],
    key: Buffer,
    signal: AbortSignal,
  ): Promise<readonly LeaseHolder[]> {
    const shared = this.#shared(wanted);
    if (shared.length === 0) return [];
    const goals = new Map(goalsOf(shared, key).map((one) => [one.key, one]));
    const options = { ...this.#options, window: CALL, insistMs: INSIST_MS };
    const census = await Census.take(options, soughtFor(shared), signal);
    census.end();
    const { present, absent } = census;
    return [...present, ...absent.filter(({ id }) => this.#options.met.has(id))]
      .map((member) => ({ ...member.member, leases: member.oldLeases(goals) }))
      .filter(({ leases }) => leases.length > 0);
  }

  /** See Fleet: within 20 s, whatever the bus does. */
  async hold(secrets: readonly SecretInUse[], _key: Buffer, signal: AbortSignal): Promise<readonly Holder[]> {
    const shared = this.#shared(secrets);
    return shared.length === 0 ? [] : holdOverBus(this.#options, shared, signal);
  }

  #shared<Name extends SecretName>(secrets: readonly Name[]): readonly Name[] {
    return secrets.filter(({ from }) => this.#options.backendOf(from) !== undefined);
  }
}

class Spreading {
  readonly #options: BusFleetOptions;
  readonly #census: Census;
  readonly #wanted: readonly Wanted[];
  readonly #key: string;
  readonly #entries: readonly BusGoal[];
  readonly #goals: KeyedGoals;
  readonly #signal: AbortSignal;
  readonly #onProgress: (acknowledgements: readonly Acknowledgement[]) => void;
  readonly #over = new AbortController();
  /** Why those whose turn has not come are not told. */
  #trouble: string | undefined;
  #lost: Acknowledgement | undefined;
  #wake: () => void = () => undefined;

  constructor(
    options: BusFleetOptions,
    census: Census,
    wanted: readonly Wanted[],
    key: Buffer,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ) {
    this.#options = options;
    this.#census = census;
    this.#wanted = wanted;
    this.#key = key.toString("base64url");
    this.#entries = goalsOf(wanted, key);
    this.#goals = new Map(this.#entries.map((one) => [one.key, one]));
    this.#signal = signal;
    this.#onProgress = onProgress;
    census.onNews = () => this.#wake();
  }

  async run(timeoutMs: number): Promise<readonly Acknowledgement[]> {
    const { rotation, pace } = this.#options;
    const calling = this.#callAgain();
    try {
      const instances = this.#census.present.map(({ instance }) => instance);
      for (const wave of wavesOf(instances, rotation, this.#rate, pace)) {
        if (!(await this.#put(wave))) break;
        const isDone = await this.#waitFor(wave, timeoutMs + wave.overMs);
        if (!isDone && wave.upTo < 1) this.#trouble = "it has not been told: the first wave did not succeed";
        if (!isDone) break;
      }
    } finally {
      this.#over.abort(new Error("the answers have been counted"));
      await calling;
    }
    return this.#each();
  }

  /** Looks a second: of the slowest backend. */
  get #rate(): number {
    const { backendOf, rateOf } = this.#options;
    const rates = this.#wanted.map(({ from, oldLeases }) =>
      Math.min(rateOf(backendOf(from) ?? ""), oldLeases ? LEASE_RATE : Number.POSITIVE_INFINITY),
    );
    return Math.min(...rates);
  }

  /** False if the bus does not take it. */
  async #put({ upTo, overMs }: Wave): Promise<boolean> {
    const { bus, clock, rotation } = this.#options;
    try {
      for (const { key, ref, fingerprint, oldLeases, ways } of this.#entries) {
        if (fingerprint === undefined && !oldLeases) continue;
        const entry = {
          ...{ rotation, ref: ref.slice(0, 1024), key: this.#key, upTo, overMs },
          ...(fingerprint !== undefined && { fingerprint }),
          ...(oldLeases && { oldLeases: writeOldLeases(oldLeases.ids.keys()) }),
          ...(ways && { ways }),
        };
        await insist(clock, INSIST_MS, this.#signal, () => bus.put(key, entry, this.#signal));
      }
      return true;
    } catch (error) {
      this.#lost = lostBus(error, this.#signal);
      return false;
    }
  }

  /** True if everybody whose turn it is has the new value, or can't have it, or has gone. */
  async #waitFor(wave: Wave, forMs: number): Promise<boolean> {
    const { clock } = this.#options;
    const begun = clock.monotonic();
    const deadline = begun + forMs;
    let toldAt = Number.NEGATIVE_INFINITY;
    let isHeardToTheEnd = wave.upTo < 1;
    for (;;) {
      const news = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const all = this.#each();
      this.#onProgress(all);
      toldAt = clock.monotonic();
      const states = all.filter((one) => this.#hasTurn(one, wave)).map(({ state }) => state);
      const isSettled = states.every((state) => state !== "pending");
      const end = isSettled ? Math.min(begun + this.#silenceMs, deadline) : deadline;
      const left = end - clock.monotonic();
      if (left <= 0) {
        const isProven = isHeardToTheEnd || !all.some(({ state }) => state === "unknown");
        if (isProven) return isSettled && !states.includes("failed");
        if (!(await this.#canHear())) return false;
        isHeardToTheEnd = true;
        continue;
      }
      await untilEither(clock, news, left, this.#signal);
      // What comes together is counted together.
      const soon = Math.min(toldAt + PROGRESS_MS, deadline) - clock.monotonic();
      if (soon > 0) await pause(clock, soon, this.#signal);
    }
  }

  /**
   * Ms for which those who are silent are waited for. One that was slow to answer is heard soon, now that there is
   * something new; but where most are silent the bus may have come back only now, and they with it.
   */
  get #silenceMs(): number {
    const [absent, present] = [this.#census.absent.length, this.#census.present.length];
    if (absent === 0) return 0;
    return absent > present ? COMEBACK_MS : SILENCE_MS;
  }

  /** Silence says something only where we could have heard: the bus may have been lost since the last call. */
  async #canHear(): Promise<boolean> {
    const { bus, clock } = this.#options;
    const keys = [...this.#goals.keys()];
    const call = (key?: string) =>
      insist(clock, INSIST_MS, this.#signal, () => bus.call(CALL, this.#signal, key));
    try {
      await (keys.length > CALLS_AT_ONCE ? call() : Promise.all(keys.map(call)));
      return true;
    } catch (error) {
      this.#lost = lostBus(error, this.#signal);
      return false;
    }
  }

  #hasTurn({ instance }: Acknowledgement, wave: Wave): boolean {
    return instance !== undefined && isInWave(this.#options.rotation, instance, wave);
  }

  #each(): readonly Acknowledgement[] {
    const { rotation, met } = this.#options;
    const all = this.#census.acknowledgements(this.#goals, rotation).map((one) => {
      if (one.state === "unknown" && one.instance !== undefined && met.has(idOf(one)))
        return { ...one, state: "pending" as const, reason: "it was heard before, and says nothing now" };
      if (one.state !== "pending" || this.#trouble === undefined) return one;
      return { ...one, reason: this.#trouble };
    });
    return this.#lost ? [...all, this.#lost] : all;
  }

  /** Reports reach us at most once. Never rejects. */
  async #callAgain(): Promise<void> {
    const { bus, clock } = this.#options;
    const stop = AbortSignal.any([this.#signal, this.#over.signal]);
    const keys = [...this.#goals.keys()];
    // One that does not come about is made up for by the next.
    const call = (key: string) =>
      bus.call(CALL, stop, key).catch((error: unknown) => {
        if (!(error instanceof McpRunError)) throw error;
      });
    try {
      for (let turn = 0; ; turn++) {
        await pause(clock, CALL_EVERY_MS, stop);
        await Promise.all(turnOf(keys, turn).map(call));
      }
    } catch (error) {
      if (!stop.aborted) this.#trouble = error instanceof Error ? error.message : "a bug in mcp-run";
    }
  }
}

/** Of more keys than can be called for at once, the next ones each time. */
function turnOf(keys: readonly string[], turn: number): readonly string[] {
  const from = (turn * CALLS_AT_ONCE) % keys.length;
  return keys.slice(from, from + CALLS_AT_ONCE);
}

function idOf({ host, instance = "" }: Acknowledgement): string {
  return HeardMember.idOf({ host, instance });
}

async function untilEither(
  clock: Clock,
  news: Promise<void>,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  try {
    await Promise.race([untilAborted(stop, news), pause(clock, ms, stop)]);
  } finally {
    over.abort(new Error("one of them is over"));
  }
}

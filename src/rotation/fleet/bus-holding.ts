/**
 * Asks the supervisors of other machines, over the bus, to hold their clients' new requests while the key that they have
 * is ended. Each looks for the candidate by itself and reports whether it holds; silence is never taken for that. An old
 * key is abused while they are waited for, so it is soon over.
 *
 *   who is there? -> asked, as many as their backend can answer -> each has answered, or the time is over
 */
import { randomBytes } from "node:crypto";
import { type Clock, pause } from "../../clock.ts";
import type { HeardReport } from "../../control/bus/operator.ts";
import { inTime } from "../../secrets/in-time.ts";
import type { Holder, SecretInUse } from "../contract.ts";
import { soughtFor } from "./bus-goals.ts";
import { type Bus, Census } from "./census.ts";
import { HeardMember } from "./heard-member.ts";
import { HOLD_MS } from "./holding.ts";
import { lostHolder } from "./lost-bus.ts";
import { holdWave, isInWave, type Pace } from "./waves.ts";

export interface BusHoldingOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  /** Which hosts there should be. */
  readonly inventory: readonly string[];
  /** The type of the backend behind a ref; undefined for one that only this machine has. */
  readonly backendOf: (from: string) => string | undefined;
  /** Looks a second that a backend of this type takes. */
  readonly rateOf: (type: string) => number;
  readonly pace: Pace;
  readonly rotation: string;
  /** Who has been heard by this process so far, for all rotations of it: one of them that falls silent is waited for. */
  readonly met: ReadonlySet<string>;
}

/** Ms for all of it, and for hearing who is there. */
const LONGEST_MS = 20_000;
const CENSUS_MS = 8_000;
const CALL = { forMs: 3_000, quietMs: 500 } as const;
/** Ms between two askings, for messages that were lost. */
const AGAIN_MS = 4_000;
/** Ms between two counts of who has answered. */
const STEP_MS = 100;

/**
 * Everybody on the bus who may have one of these, and whether it holds; within 20 s. Where the bus fails, that
 * is an answer of its own. Rejects with the signal's reason.
 */
export async function holdOverBus(
  options: BusHoldingOptions,
  secrets: readonly SecretInUse[],
  signal: AbortSignal,
): Promise<readonly Holder[]> {
  const { clock } = options;
  const deadline = clock.monotonic() + LONGEST_MS;
  const sought = soughtFor(secrets);
  let census: Census;
  try {
    const hint = "again when it answers";
    census = await inTime({ clock, limitMs: CENSUS_MS, signal, hint }, (either) =>
      Census.take({ ...options, window: CALL }, sought, either),
    );
  } catch (error) {
    return [lostHolder(error, signal)];
  }
  const asking = new Asking(options, census, sought.keys, signal);
  try {
    const lost = await asking.run(secrets, deadline);
    return [...asking.holders, ...lost];
  } finally {
    asking.end();
    census.end();
  }
}

class Asking {
  readonly #options: BusHoldingOptions;
  readonly #census: Census;
  readonly #keys: ReadonlySet<string>;
  readonly #signal: AbortSignal;
  readonly #id = randomBytes(12).toString("hex");
  /** What each has said to it, by the id of the member. */
  readonly #answers = new Map<string, Pick<Holder, "holds" | "reason">>();
  readonly end: () => void;
  #upTo = 1;
  /** One of those who have not answered yet. */
  #awaited: HeardMember | undefined;

  constructor(options: BusHoldingOptions, census: Census, keys: ReadonlySet<string>, signal: AbortSignal) {
    this.#options = options;
    this.#census = census;
    this.#keys = keys;
    this.#signal = signal;
    this.end = options.bus.onReport((report) => this.#hear(report));
  }

  /** Until each has answered, or the deadline by the monotonic clock; what stands for a bus that has failed. */
  async run(secrets: readonly SecretInUse[], deadline: number): Promise<readonly Holder[]> {
    const { clock, bus, rotation, pace, backendOf, rateOf } = this.#options;
    const rate = Math.min(...secrets.map(({ from }) => rateOf(backendOf(from) ?? "")));
    const count = this.#census.present.filter(({ report }) => this.#canBeAsked(report)).length;
    const { upTo, overMs } = holdWave(count, rate, pace);
    this.#upTo = upTo;
    const hold = { rotation, forMs: HOLD_MS, upTo, overMs };
    while (this.#isWaiting) {
      const left = deadline - clock.monotonic();
      if (left <= 0) break;
      try {
        await inTime({ clock, limitMs: left, signal: this.#signal }, async (either) =>
          bus.askToHold?.([...this.#keys], this.#id, hold, either),
        );
      } catch (error) {
        return [lostHolder(error, this.#signal)];
      }
      await this.#answered(Math.min(clock.monotonic() + AGAIN_MS, deadline));
    }
    return [];
  }

  get holders(): readonly Holder[] {
    const { met } = this.#options;
    const silent = (one: HeardMember): Holder =>
      met.has(one.id)
        ? { ...one.member, holds: false, reason: "it was heard before, and says nothing now" }
        : { ...one.member, holds: false, isSilent: true };
    return [
      ...this.#census.present.map((one) => ({ ...one.member, ...this.#answerOf(one) })),
      ...this.#census.absent.map(silent),
    ];
  }

  /** Also for who answered when it was planned, and has been too slow for the census. */
  get #isWaiting(): boolean {
    // To look at all of thousands, many times a second, keeps a processor busy.
    const last = this.#awaited;
    if (last?.isHere && !last.hasEnded && this.#isAwaited(last)) return true;
    const slow = this.#census.absent.filter(({ id }) => this.#options.met.has(id));
    this.#awaited = [...this.#census.present, ...slow].find((one) => this.#isAwaited(one));
    return this.#awaited !== undefined;
  }

  #isAwaited(one: HeardMember): boolean {
    return !this.#answers.has(one.id) && this.#canBeAsked(one.report) && this.#isInWave(one);
  }

  #isInWave({ instance }: HeardMember): boolean {
    const upTo = this.#upTo;
    return upTo === 1 || isInWave(this.#options.rotation, instance, { upTo, overMs: 0 });
  }

  #canBeAsked({ secrets, more = [], secretsLeftOut = 0 }: HeardReport): boolean {
    const keys = [...secrets.map(({ key }) => key), ...more];
    return secretsLeftOut > 0 || keys.some((key) => this.#keys.has(key));
  }

  #answerOf(one: HeardMember): Pick<Holder, "holds" | "reason"> {
    const said = this.#answers.get(one.id);
    if (said) return said;
    const no = (reason: string) => ({ holds: false, reason });
    if (one.report.isUnreadable) return no("what it says can't be read: is it another version of mcp-run?");
    if (!this.#canBeAsked(one.report)) return no("it has it by another address, and can't be told");
    if (!this.#isInWave(one)) return no("it was not asked: its backend could not answer so many");
    return no("it has not said so in time");
  }

  #hear(report: HeardReport): void {
    const { hold, call } = report;
    const id = HeardMember.idOf(report);
    // The census has heard it before; a host could invent answers without an end.
    if (!this.#census.knows(id)) return;
    if (hold?.call === this.#id) {
      const { holds, reason = "it does not say why" } = hold;
      this.#answers.set(id, holds ? { holds } : { holds, reason });
    } else if (call === this.#id && !this.#answers.has(id))
      this.#answers.set(id, { holds: false, reason: "it is of an earlier version of mcp-run" });
  }

  /** Until everybody who was asked has answered, at most until then. Not at each report: there may be thousands. */
  async #answered(until: number): Promise<void> {
    const { clock } = this.#options;
    for (let left = until - clock.monotonic(); left > 0 && this.#isWaiting; left = until - clock.monotonic())
      await pause(clock, Math.min(STEP_MS, left), this.#signal);
  }
}

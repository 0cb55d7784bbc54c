/**
 * Calls that ask a supervisor to have its client's new requests wait while the key that it has is ended. A call is only
 * a hint: what it makes of it is its own affair (commands/run/holding.ts). One asking has a call for each secret, and
 * all that come together are one; it may be said again, since messages can be lost, and that costs one more report.
 */
import type { Clock, Timer } from "../../clock.ts";
import { fractionOf } from "./entry-watch.ts";
import { type HoldAsked, type HoldSaid, LONGEST_REASON } from "./messages.ts";

export interface HoldingForBus {
  /**
   * Never rejects.
   *
   * @param keys busKey of each secret that is asked after
   */
  ask(
    keys: readonly string[],
    hold: Pick<HoldAsked, "rotation" | "forMs">,
  ): Promise<Pick<HoldSaid, "holds" | "reason">>;
  /** The rotation for which it holds now. */
  readonly rotation: () => string | undefined;
}

export interface HoldCallsOptions {
  readonly instance: string;
  readonly clock: Clock;
  readonly holding: HoldingForBus;
  readonly onAnswer: () => void;
}

/** Ms within which the calls of one asking come. */
const TOGETHER_MS = 50;
/** Askings at the same time; what is more is no honest operator's. */
const MOST_AT_ONCE = 4;

export class HoldCalls {
  readonly #options: HoldCallsOptions;
  /** By the id of the asking. */
  readonly #underWay = new Map<string, { readonly keys: Set<string>; readonly timer: Timer }>();
  #last: HoldSaid | undefined;
  #isClosed = false;

  constructor(options: HoldCallsOptions) {
    this.#options = options;
  }

  /** Undefined also for one that has held, and holds no more. */
  get said(): HoldSaid | undefined {
    const said = this.#last;
    return said?.holds && this.#options.holding.rotation() !== said.rotation ? undefined : said;
  }

  /** @param id of the asking */
  hear(key: string, id: string, hold: HoldAsked): void {
    const { clock, instance, onAnswer } = this.#options;
    if (this.#isClosed || fractionOf(hold.rotation, instance) >= hold.upTo) return;
    const known = this.#underWay.get(id);
    if (known) known.keys.add(key);
    else if (this.#last?.call === id) onAnswer();
    else if (this.#underWay.size < MOST_AT_ONCE) {
      const due = () => void this.#ask(id, hold);
      const timer = clock.after(TOGETHER_MS + Math.random() * hold.overMs, due, { background: true });
      this.#underWay.set(id, { keys: new Set([key]), timer });
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#underWay.values()) timer.cancel();
  }

  async #ask(id: string, { rotation, forMs }: HoldAsked): Promise<void> {
    const { holding, onAnswer } = this.#options;
    const { holds, reason } = await holding.ask([...(this.#underWay.get(id)?.keys ?? [])], {
      rotation,
      forMs,
    });
    this.#underWay.delete(id);
    const why = reason === undefined ? {} : { reason: reason.slice(0, LONGEST_REASON) };
    this.#last = { call: id, rotation, holds, ...why };
    onAnswer();
  }
}

/** What one generation has under way, as a session keeps it. */
import type { CallWatch } from "./calls.ts";
import { RequestLedger } from "./ledger.ts";
import type { Line } from "./line.ts";
import { LongWork } from "./long-work.ts";
import { keyIn } from "./message-id.ts";

/** `next` is being prepared, `current` gets what is new, `draining` only finishes what it has. */
export type Place = "next" | "current" | "draining";

export class Traffic {
  readonly number: number;
  readonly ledger: RequestLedger;
  readonly work = new LongWork();
  /** By the key of the id: whoever waits for the answer to a request of our own. */
  readonly ours = new Map<string, (answer: Line) => void>();
  /** Keys of the listens that were repeated to it. */
  readonly repeated = new Set<string>();
  place: Place = "next";
  /** It has had the handshake, or was there when the client made it. */
  isIntroduced = false;
  /** Nothing that it says goes to the client any more. */
  isMuted = false;
  /** It takes nothing more. */
  isDeaf = false;

  constructor(number: number, onIdle: (number: number) => void, calls?: CallWatch) {
    this.number = number;
    this.ledger = new RequestLedger({ onIdle: () => this.tellIfIdle(), generation: number, calls });
    this.#onIdle = onIdle;
  }

  readonly #onIdle: (number: number) => void;

  /** True if it gets what is new, or is about to and has been told of this listen. */
  knowsListen(id: string): boolean {
    if (this.place === "next") return keyIn(this.repeated, id) !== undefined;
    return this.place === "current";
  }

  get isBusy(): boolean {
    return this.ledger.unanswered > 0 || this.work.isBusy;
  }

  tellIfIdle(): void {
    if (!this.isBusy) this.#onIdle(this.number);
  }
}

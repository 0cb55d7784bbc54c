/**
 * Nobody waits for ever for a server that is not there: ten seconds after the last one has gone, what the client
 * has asked since, or before, and no server has heard, is answered with an error as soon as it has waited so long.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Session } from "../relay/session.ts";

/** Ms that a request waits for a server, while there is none. */
export const HELD_MS = 10_000;
/** Ms between two looks at the requests that wait. */
const LOOK_EVERY_MS = 500;

export class HeldWatch {
  readonly #clock: Clock;
  readonly #session: Session;
  readonly #tellClient: (lines: readonly Buffer[]) => void;
  #timer: Timer | undefined;

  constructor(clock: Clock, session: Session, tellClient: (lines: readonly Buffer[]) => void) {
    this.#clock = clock;
    this.#session = session;
    this.#tellClient = tellClient;
  }

  /** The server has gone. */
  begin(): void {
    this.end();
    this.#lookIn(HELD_MS);
  }

  /** Another one is there, or nobody waits any more. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #lookIn(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      const since = this.#clock.monotonic() - HELD_MS;
      this.#tellClient(this.#session.refuseHeld("the server is being restarted", since));
      this.#lookIn(LOOK_EVERY_MS);
    });
  }
}

/**
 * Keeps a connection to the bus: tries the servers in random order, and again for ever, ever more slowly and never all
 * hosts at once. Nothing here is waited for by anybody who serves, and nothing is thrown.
 *
 *   connecting -> up .......... each time through `onUp`
 *   up         -> connecting .. when the server hangs up or is silent, through `onDown`
 */
import type { NatsConnection } from "@nats-io/transport-node";
import { pause, settledWithin } from "../../clock.ts";
import { type BusOptions, dial, readServers, type Server } from "./connect.ts";
import { type Failure, failureOf } from "./failure.ts";
import { whyUnreachable } from "./reach.ts";

export interface LinkOptions extends BusOptions {
  readonly inbox: string;
  readonly onUp: (connection: NatsConnection, server: Server) => void;
  /** Also when a first attempt fails: why, and each time that it fails again. */
  readonly onDown: (failure: Failure) => void;
}

/** Ms before the next round through the servers: at first, and at most; where a person has to mend something. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const REFUSED_PAUSE_MS = 60_000;
/** Ms for taking leave of the server. */
const CLOSE_MS = 500;

export class Link {
  readonly #options: LinkOptions;
  readonly #stop = new AbortController();
  readonly #over: Promise<void>;
  #connection: NatsConnection | undefined;
  #isRenewed = false;

  /** Begins at once. */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.#over = this.#keep();
  }

  /** Undefined while there is none. */
  get connection(): NatsConnection | undefined {
    return this.#connection;
  }

  /** Another connection in place of this one, without a word: what a server says of itself it says at the beginning. */
  renew(): void {
    if (!this.#connection) return;
    this.#isRenewed = true;
    void quietly(this.#connection.close());
  }

  /** Never rejects; ends within a second. */
  async close(): Promise<void> {
    this.#stop.abort();
    const connection = this.#connection;
    if (connection) await settledWithin(this.#options.clock, CLOSE_MS, quietly(connection.close()));
    await settledWithin(this.#options.clock, CLOSE_MS, this.#over);
  }

  async #keep(): Promise<void> {
    const { onDown, clock } = this.#options;
    for (let failed = 0; !this.#stop.signal.aborted; failed++) {
      const { failure, wasUp } = await this.#round(failed > 0);
      if (this.#stop.signal.aborted) return;
      if (wasUp) failed = 0;
      const isWanted = this.#isRenewed;
      this.#isRenewed = false;
      if (wasUp && isWanted) continue;
      onDown(failure);
      const most = failure.type === "refused" && !wasUp ? REFUSED_PAUSE_MS : LONGEST_PAUSE_MS;
      const base = Math.min(
        most,
        failure.type === "refused" ? most : FIRST_PAUSE_MS * 2 ** Math.min(failed, 10),
      );
      // Half of it at random: all hosts lose a server at the same moment.
      const pauseMs = base / 2 + Math.random() * base;
      await pause(clock, pauseMs, this.#stop.signal).catch(() => undefined);
    }
  }

  /** Tries each server once; ends when none is left, or when the connection that came about is lost. */
  async #round(isDoubtful: boolean): Promise<{ readonly failure: Failure; readonly wasUp: boolean }> {
    let failure: Failure = { type: "unreachable", reason: "nobody was asked" };
    try {
      for (const server of shuffled(readServers(this.#options.servers))) {
        const dialled = await this.#dial(server, isDoubtful);
        if ("connection" in dialled)
          return { failure: await this.#live(dialled.connection, server), wasUp: true };
        // What has to be mended is worth more to be said than that another server is away.
        if (failure.type !== "refused") failure = dialled.failure;
        if (this.#stop.signal.aborted) break;
      }
    } catch (error) {
      if (this.#connection) await quietly(this.#connection.close());
      this.#connection = undefined;
      failure = failureOf(error, "the bus");
    }
    return { failure, wasUp: false };
  }

  /** An attempt of the library holds up the end of the process, so that one which is likely to fail is not begun. */
  async #dial(server: Server, isDoubtful: boolean): ReturnType<typeof dial> {
    const { clock, inbox } = this.#options;
    const why = isDoubtful && (await whyUnreachable(server, clock, this.#stop.signal));
    if (why) return { failure: { type: "unreachable", reason: `${server.address}: ${why}` } };
    return dial(server, this.#options, inbox, this.#stop.signal);
  }

  /** Until the connection is lost. */
  async #live(connection: NatsConnection, server: Server): Promise<Failure> {
    if (this.#stop.signal.aborted) {
      await quietly(connection.close());
      return { type: "unreachable", reason: "closed" };
    }
    this.#connection = connection;
    this.#options.onUp(connection, server);
    const error = await connection.closed();
    this.#connection = undefined;
    return error
      ? failureOf(error, server.address)
      : { type: "unreachable", reason: `${server.address}: the connection was lost` };
  }
}

function quietly(work: Promise<unknown>): Promise<unknown> {
  // The connection may be gone already, which is what was wanted.
  return work.catch(() => undefined);
}

function shuffled<T>(all: readonly T[]): readonly T[] {
  return all
    .map((one) => ({ one, by: Math.random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ one }) => one);
}

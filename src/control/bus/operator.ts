/**
 * The operator's end of the bus: puts entries, calls for reports, hears and reads them. Every method rejects with
 * McpRunError or the signal's reason, within a time of its own.
 */
import { randomBytes } from "node:crypto";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Empty, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { pause, untilAborted, withDeadline } from "../../clock.ts";
import { McpRunError } from "../../errors.ts";
import { type BusOptions, readServers } from "./connect.ts";
import type { Failure } from "./failure.ts";
import { flushed } from "./flushed.ts";
import { keptReports } from "./kept-reports.ts";
import { proveIsAmongAll } from "./leader.ts";
import { Link } from "./link.ts";
import { type Entry, type HoldAsked, LONGEST_ENTRY, type Report, readEntry, readReport } from "./messages.ts";
import { BUCKET_STREAM, OPERATOR_INBOX, reportSource, subjects } from "./names.ts";
import { isConflict, isTransient, refusalOf, refusalToConnect } from "./refusal.ts";
import { refuseTooLong } from "./room.ts";
import { type SetUpOptions, type SetUpResult, setUp } from "./setup.ts";

export interface HeardReport extends Report {
  /** When the server had it, or it came: wall-clock ms. */
  readonly heardAt: number;
  /** Somebody is there, and of what he says nothing can be read but who he is. */
  readonly isUnreadable?: true;
}

/** See Entry. */
export type NewEntry = Omit<Entry, "v" | "generation" | "at" | "bucket">;

export interface CallWindow {
  /** Ms for the whole of it. */
  readonly forMs: number;
  /** Over when nobody has come for so many ms. */
  readonly quietMs: number;
}

/** Ms for one answer of the server, for all the reports that it keeps, and for it to come back when it was lost. */
const ANSWER_MS = 5_000;
const HISTORY_MS = 60_000;
const COMEBACK_MS = 15_000;
const MOST_CONFLICTS = 8;
/** Ms for a cluster to get over the loss of a server, and between two attempts meanwhile. */
const PATIENCE_MS = 20_000;
const AGAIN_MS = 300;
const COMEBACK_SPREAD_MS = 1_000;

type Listener = (report: HeardReport) => void;

export class BusOperator {
  readonly #options: BusOptions;
  readonly #link: Link;
  readonly #listeners = new Set<Listener>();
  readonly #waiting = new Set<(result: Failure | NatsConnection) => void>();
  #dropped = 0;
  #wasUp = false;
  #isFull = false;
  #setback: McpRunError | undefined;
  /** Why this connection hears no reports. */
  #deafness: Error | undefined;

  /** Rejects if no server lets us in, or if it does not let us hear reports. */
  static async connect(options: BusOptions, signal: AbortSignal): Promise<BusOperator> {
    signal.throwIfAborted();
    readServers(options.servers);
    const operator = new BusOperator(options);
    try {
      const connection = await untilAborted(signal, operator.#first());
      await operator.#prove(connection, signal);
      return operator;
    } catch (error) {
      await operator.close();
      throw error;
    }
  }

  private constructor(options: BusOptions) {
    this.#options = options;
    this.#link = new Link({
      ...options,
      inbox: OPERATOR_INBOX,
      onUp: (connection) => {
        this.#deafness = undefined;
        connection.subscribe(subjects.anyReport, { callback: this.#onMessage });
        // What was reported while the bus was away has not been heard.
        if (this.#wasUp) publishCall(connection, subjects.callAll, COMEBACK_SPREAD_MS);
        this.#wasUp = true;
        this.#tell(connection);
      },
      onDown: (failure) => this.#tell(failure),
    });
  }

  /** Reports that could not be read, or were not of whom their subject names. */
  get dropped(): number {
    return this.#dropped;
  }

  /** When the history was read last, the server kept reports of nobody new any more. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Why what was asked last has to be tried again, where that is so: for who can't wait for what comes of it. */
  get setback(): McpRunError | undefined {
    return this.#setback;
  }

  /** Every report from now on, whoever asked for it; gives what ends that. */
  onReport(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Everybody who is connected, or who has the secret with this key, answers within the window. Rejects where that
   * could not be heard to its end: nobody is silent because we are deaf.
   */
  async call(window: CallWindow, signal: AbortSignal, key?: string): Promise<readonly HeardReport[]> {
    const over = new AbortController();
    const ask = (connection: NatsConnection) =>
      this.#callOver(connection, window, AbortSignal.any([signal, over.signal]), key);
    try {
      return await this.#surely("call for reports", signal, ask, window.forMs + 2 * ANSWER_MS);
    } finally {
      over.abort(new Error("nobody waits for it"));
    }
  }

  /**
   * Asks everybody who has one of the secrets with these keys to have new requests wait, and waits for nobody: see
   * Report. May be said again.
   *
   * @param id of the call: whoever answers to it and says nothing of holding knows nothing of that
   */
  async askToHold(keys: readonly string[], id: string, hold: HoldAsked, signal: AbortSignal): Promise<void> {
    const ask = async (connection: NatsConnection) => {
      const line = JSON.stringify({ v: 1, id, spreadMs: hold.overMs, hold });
      for (const key of keys) connection.publish(subjects.call(key), line);
      await flushed(connection);
    };
    await this.#surely("ask servers to hold requests", signal, ask);
  }

  /** The last report of every supervisor that was ever heard, for 30 days; those that have ended too. */
  async history(signal: AbortSignal): Promise<readonly HeardReport[]> {
    const read = (connection: NatsConnection) => this.#readAll(connection);
    return this.#surely("read the reports", signal, read, HISTORY_MS);
  }

  /** The entry that is stored; undefined where there is none, or none that can be read. */
  async stored(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    return (await this.#surely("read an entry", signal, (connection) => lastOf(connection, key))).entry;
  }

  /** Puts an entry over the last one. Of two operators at once the later one counts, and both have been stored. */
  async put(key: string, entry: NewEntry, signal: AbortSignal): Promise<{ readonly generation: number }> {
    for (let conflicts = 0; ; conflicts++) {
      try {
        return await this.#surely("put an entry", signal, (connection) =>
          this.#putOver(connection, key, entry),
        );
      } catch (error) {
        if (!isConflict(error) || conflicts >= MOST_CONFLICTS) throw refusalOf("put an entry", error);
        await pause(this.#options.clock, Math.random() * 50 * 2 ** conflicts, signal);
      }
    }
  }

  /** Makes the bucket and the stream, or brings them to what is wanted. */
  async setUp(options: SetUpOptions, signal: AbortSignal): Promise<readonly SetUpResult[]> {
    const make = (connection: NatsConnection) => setUp(connection, options);
    return this.#surely("set up the bucket and the stream", signal, make, 6 * ANSWER_MS);
  }

  /** Never rejects; ends within a second. */
  async close(): Promise<void> {
    await this.#link.close();
  }

  readonly #onMessage = (error: Error | null, { subject, data }: Msg): void => {
    if (error) {
      this.#deafness = error;
      return;
    }
    const report = this.#reportOf(subject, data, this.#options.clock.now());
    if (report) for (const listener of this.#listeners) listener(report);
  };

  #reportOf(subject: string, data: Uint8Array, heardAt: number): HeardReport | undefined {
    const report = readReport(data);
    const source = reportSource(subject);
    // The server has seen to it that only this host can use its subject; what it says there must be of itself.
    if (report && source?.host === report.host && source.instance === report.instance)
      return { ...report, heardAt };
    this.#dropped += 1;
    return source && { ...strangerAt(source), heardAt, isUnreadable: true };
  }

  async #putOver(connection: NatsConnection, key: string, entry: NewEntry): Promise<{ generation: number }> {
    const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: ANSWER_MS });
    const { created: bucket } = await streams.info(BUCKET_STREAM);
    const { sequence, entry: last } = await lastOf(connection, key);
    // No entry has a generation above its place in the stream.
    const generation = (last?.generation ?? sequence) + 1;
    const at = new Date(this.#options.clock.now()).toISOString();
    const line = JSON.stringify({ v: 1, generation, at, bucket, ...entry });
    if (Buffer.byteLength(line) > LONGEST_ENTRY || !readEntry(Buffer.from(line)))
      throw new McpRunError("internal", "Cannot put an entry on the fleet's bus: it is not of its form");
    refuseTooLong(connection, Buffer.byteLength(line));
    await jetstream(connection, { timeout: ANSWER_MS }).publish(subjects.put(key), line, {
      expect: { lastSubjectSequence: sequence },
    });
    return { generation };
  }

  async #callOver(
    connection: NatsConnection,
    window: CallWindow,
    signal: AbortSignal,
    key: string | undefined,
  ): Promise<readonly HeardReport[]> {
    const { clock } = this.#options;
    const spreadMs = Math.round(Math.min(window.forMs / 4, window.quietMs / 2));
    const heard = new Map<string, HeardReport>();
    let id = "";
    let lastAt = 0;
    const stop = this.onReport((report) => {
      if (report.call !== id) return;
      heard.set(`${report.host} ${report.instance}`, report);
      lastAt = clock.monotonic();
    });
    try {
      await untilAborted(signal, proveIsAmongAll(connection));
      id = publishCall(connection, key === undefined ? subjects.callAll : subjects.call(key), spreadMs);
      await untilAborted(signal, flushed(connection));
      lastAt = clock.monotonic();
      const end = lastAt + window.forMs;
      for (;;) {
        const left = Math.min(end, lastAt + window.quietMs) - clock.monotonic();
        if (left <= 0) break;
        await pause(clock, left, signal);
      }
      // What the server had for us has come before its answer.
      await untilAborted(signal, flushed(connection));
      await untilAborted(signal, proveIsAmongAll(connection));
      if (this.#deafness) throw this.#deafness;
    } finally {
      stop();
    }
    return [...heard.values()];
  }

  async #readAll(connection: NatsConnection): Promise<readonly HeardReport[]> {
    const reports = new Map<string, HeardReport>();
    const onLimit = (isFull: boolean) => {
      this.#isFull = isFull;
    };
    for await (const message of keptReports(connection, onLimit)) {
      const report = this.#reportOf(message.subject, message.data, message.time.getTime());
      if (report) reports.set(message.subject, report);
    }
    return [...reports.values()];
  }

  /**
   * Again while the connection is lost, or while a cluster chooses who speaks for a stream: to be used for what can be
   * done twice.
   */
  async #surely<T>(
    action: string,
    signal: AbortSignal,
    work: (connection: NatsConnection) => Promise<T>,
    ms?: number,
  ): Promise<T> {
    const { clock } = this.#options;
    const end = clock.monotonic() + PATIENCE_MS;
    this.#setback = undefined;
    for (;;) {
      const connection = await this.#connected(action, signal);
      let isPassing = false;
      try {
        const watched = work(connection).catch((error: unknown) => {
          isPassing = isTransient(error);
          throw error;
        });
        return await this.#answered(action, watched, signal, ms);
      } catch (error) {
        if (signal.aborted || isConflict(error) || clock.monotonic() > end) throw error;
        this.#setback = isPassing && error instanceof McpRunError ? error : undefined;
        // What fails because the connection is closed fails a moment before it is.
        await pause(clock, AGAIN_MS, signal);
        if (!isPassing && this.#link.connection === connection) throw error;
      }
    }
  }

  /** Waits for a connection that was lost. */
  async #connected(action: string, signal: AbortSignal): Promise<NatsConnection> {
    signal.throwIfAborted();
    if (this.#link.connection) return this.#link.connection;
    const comeback = new Promise<NatsConnection>((resolve) => {
      const wait = (result: Failure | NatsConnection) => {
        if ("type" in result) return;
        this.#waiting.delete(wait);
        resolve(result);
      };
      this.#waiting.add(wait);
    });
    const lost = () => refusalOf(action, undefined);
    return untilAborted(signal, withDeadline(this.#options.clock, COMEBACK_MS, comeback, lost));
  }

  #first(): Promise<NatsConnection> {
    return new Promise((resolve, reject) => {
      const wait = (result: Failure | NatsConnection) => {
        this.#waiting.delete(wait);
        if ("type" in result) reject(refusalToConnect(result));
        else resolve(result);
      };
      this.#waiting.add(wait);
    });
  }

  #tell(result: Failure | NatsConnection): void {
    for (const wait of this.#waiting) wait(result);
  }

  /** The server has let us hear reports: what it refuses it says before it answers the next question. */
  async #prove(connection: NatsConnection, signal: AbortSignal): Promise<void> {
    let refusal: Error | null = null;
    const ask = async () => {
      const callback = (error: Error | null) => {
        refusal ??= error;
      };
      const probe = connection.subscribe(subjects.anyReport, { callback });
      await flushed(connection);
      if (refusal) throw refusal;
      probe.unsubscribe();
    };
    await this.#answered("hear reports", ask(), signal);
  }

  async #answered<T>(action: string, work: Promise<T>, signal: AbortSignal, ms = 3 * ANSWER_MS): Promise<T> {
    const late = () =>
      new McpRunError(
        "backend-unavailable",
        `Cannot ${action} on the fleet's bus: no answer within ${ms / 1000} s`,
      );
    const bounded = withDeadline(this.#options.clock, ms, work, late);
    try {
      return await untilAborted(signal, bounded);
    } catch (error) {
      if (signal.aborted || isConflict(error)) throw error;
      throw refusalOf(action, error);
    }
  }
}

/** He may have the secrets that matter; silence would be taken for nobody. */
function strangerAt({ host, instance }: { readonly host: string; readonly instance: string }): Report {
  const pid = Number(/^\d{1,9}(?=-)/.exec(instance)?.[0] ?? 0);
  const nothing = { profile: "?", generation: 0, era: "?", mode: "?", secrets: [] };
  return { v: 1, host, pid, instance, state: "serving", ...nothing };
}

/** The id by which answers are known. */
function publishCall(connection: NatsConnection, subject: string, spreadMs: number): string {
  const id = randomBytes(12).toString("hex");
  connection.publish(subject, JSON.stringify({ v: 1, id, spreadMs }));
  return id;
}

/** `sequence` is 0 where nothing is stored. */
async function lastOf(
  connection: NatsConnection,
  key: string,
): Promise<{ readonly sequence: number; readonly entry?: Entry | undefined }> {
  const message = await connection
    .request(subjects.stored(key), Empty, { timeout: ANSWER_MS })
    .catch(async (error: unknown) => {
      // A server does not answer for a bucket that it does not have, and says so only to who asks.
      const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: ANSWER_MS });
      await streams.info(BUCKET_STREAM);
      throw error;
    });
  if (message.headers?.hasError) return { sequence: 0 };
  return { sequence: Number(message.headers?.get("Nats-Sequence")), entry: readEntry(message.data) };
}

/**
 * A supervisor on the bus: hears entries for its secrets, and reports what its server has. The bus may be down from the
 * start or at any time; the supervisor serves all the same, and what was said meanwhile is read when it is back.
 */
import { Empty, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { settledWithin, type Timer } from "../../clock.ts";
import { readServers, type Server } from "./connect.ts";
import { EntryWatch } from "./entry-watch.ts";
import type { Failure } from "./failure.ts";
import { flushed } from "./flushed.ts";
import { HoldCalls } from "./hold-calls.ts";
import { type Lack, lackOf } from "./lack.ts";
import { Link } from "./link.ts";
import type { BusMemberOptions, BusState } from "./member-options.ts";
import { memberReport } from "./member-report.ts";
import { readCall, readEntry } from "./messages.ts";
import { hostInbox, newInstance, subjects } from "./names.ts";
import { lackOfRoom, roomOf } from "./room.ts";

export type { BusMemberOptions, BusState } from "./member-options.ts";

/** Ms between two looks at what is stored; each host has its own time. */
const LOOK_EVERY_MS = 300_000;
/** Likewise, after one that the server did not answer. */
const LOOK_SOON_MS = 10_000;
/** Likewise, where the server has refused something: somebody may have mended it. */
const TRY_AGAIN_MS = 60_000;
const ANSWER_MS = 5_000;
/** Calls that are answered within BREATH_MS; what is more is no honest operator's. */
const MOST_ANSWERS = 16;
const BREATH_MS = 1_000;
/** Ms that a state which will soon be another one may wait to be said. */
const PASSING_MS = 1_000;
/** Ms for the last words. */
const FAREWELL_MS = 400;

interface Watched {
  readonly watch: EntryWatch;
  subscriptions: readonly Subscription[];
}

export class BusMember {
  readonly #options: BusMemberOptions;
  readonly #instance: string;
  readonly #link: Link;
  readonly #watched = new Map<string, Watched>();
  readonly #holdCalls: HoldCalls | undefined;
  #state: BusState;
  #dropped = 0;
  /** What the server does not let us do, and what it has not answered; of this connection. */
  #refused: Lack | undefined;
  #unanswered: Lack | undefined;
  /** Why what we say can't be sent. */
  #tooLong: Lack | undefined;
  /** While it is tried whether that is allowed by now: what is refused still. */
  #trial: { refused: Lack | undefined } | undefined;
  #calls: readonly Subscription[] = [];
  /** When the next look at what is stored is due, a report, and answers to calls. */
  #nextLook: Timer | undefined;
  #nextReport: { readonly timer: Timer; readonly isUrgent: boolean } | undefined;
  #answers = new Set<Timer>();
  #isClosed = false;

  /** Returns at once and connects behind. Throws McpRunError `profile-invalid` for servers that can't be used. */
  static join(options: BusMemberOptions): BusMember {
    readServers(options.servers);
    return new BusMember(options);
  }

  private constructor(options: BusMemberOptions) {
    this.#options = options;
    this.#instance = options.instance ?? newInstance(options.pid);
    this.#state = { id: "connecting", since: options.clock.now() };
    const { clock, holding } = options;
    const onAnswer = () => this.#report(true);
    this.#holdCalls = holding && new HoldCalls({ clock, holding, instance: this.#instance, onAnswer });
    this.#watchAll();
    this.#link = new Link({
      ...options,
      inbox: hostInbox(options.host),
      onUp: (connection, server) => this.#isUp(connection, server),
      onDown: (failure) => this.#isDown(failure),
    });
  }

  get state(): BusState {
    return this.#state;
  }

  get instance(): string {
    return this.#instance;
  }

  /** Messages that could not be read. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The server, its secrets or its standing have changed. */
  changed(): void {
    if (this.#isClosed) return;
    const added = this.#watchAll();
    for (const { watch } of this.#watched.values()) watch.changed();
    const { connection } = this.#link;
    if (!connection) return;
    this.#report(true);
    if (added.length > 0) void this.#readStored(connection, added);
  }

  /** Takes leave, within a second; never rejects. */
  async close(): Promise<void> {
    await this.#close(true);
  }

  /** Likewise, and comes back: whoever is not heard meanwhile is missed, and not taken for one who has ended. */
  async leave(): Promise<void> {
    await this.#close(false);
  }

  async #close(isForGood: boolean): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#nextLook?.cancel();
    this.#nextReport?.timer.cancel();
    for (const timer of this.#answers) timer.cancel();
    this.#holdCalls?.close();
    const { connection } = this.#link;
    if (isForGood && connection && this.#say(connection, undefined, "ended")) {
      const said = connection.flush().catch(() => undefined);
      await settledWithin(this.#options.clock, FAREWELL_MS, said);
    }
    for (const { watch } of this.#watched.values()) watch.close();
    await this.#link.close();
    this.#become({ id: "closed" });
  }

  #isUp(connection: NatsConnection, server: Server): void {
    if (this.#isClosed) return;
    this.#refused = undefined;
    this.#unanswered = undefined;
    this.#trial = undefined;
    this.#tooLong = this.#lackOfRoom(connection, this.#reportAs("serving"));
    const lacks = this.#tooLong && { lacks: this.#tooLong };
    this.#become({ id: "connected", since: this.#options.clock.now(), server: server.address, ...lacks });
    void this.#hearRefusals(connection);
    this.#subscribeAll(connection);
    void this.#readStored(connection, [...this.#watched.keys()]);
  }

  #subscribeAll(connection: NatsConnection): void {
    this.#calls = [connection.subscribe(subjects.callAll, { callback: this.#callback() })];
    for (const [key, watched] of this.#watched) watched.subscriptions = this.#subscribe(connection, key);
  }

  /** A server that has read its permissions anew says nothing of it, and what it had refused stays so. Never rejects. */
  async #tryAgain(connection: NatsConnection): Promise<void> {
    const trial: { refused: Lack | undefined } = { refused: undefined };
    this.#trial = trial;
    try {
      const before = [this.#calls, ...[...this.#watched.values()].map(({ subscriptions }) => subscriptions)];
      for (const subscription of before.flat()) subscription.unsubscribe();
      this.#subscribeAll(connection);
      this.#say(connection);
      await flushed(connection);
      // What is refused has come before that answer, and is told us within this turn.
      await new Promise<void>((resolve) => this.#options.clock.after(0, resolve, { background: true }));
    } catch {
      // It was lost meanwhile: with the next one everything is tried anyway.
    }
    if (this.#trial !== trial) return;
    this.#trial = undefined;
    this.#refused = trial.refused;
  }

  #isDown({ type, reason, hint }: Failure): void {
    if (this.#isClosed) return;
    this.#nextLook?.cancel();
    const isNew = this.#state.id === "connected";
    const since = !isNew && "since" in this.#state ? this.#state.since : this.#options.clock.now();
    this.#become(
      type === "refused"
        ? { id: "refused", since, reason, ...(hint !== undefined && { hint }) }
        : { id: "reconnecting", since, reason },
    );
  }

  #become(state: BusState): void {
    const before = this.#state;
    this.#state = state;
    const isSame = before.id === state.id && reasonOf(before) === reasonOf(state);
    if (!isSame) this.#options.onState(state);
  }

  /** Follows the secrets that are in use now; the keys that are new. */
  #watchAll(): readonly string[] {
    const { secrets, fingerprint, leases, standing, look, clock } = this.#options;
    const keys = new Set(secrets().map(({ key }) => key));
    for (const [key, { watch, subscriptions }] of this.#watched) {
      if (keys.has(key)) continue;
      watch.close();
      for (const subscription of subscriptions) subscription.unsubscribe();
      this.#watched.delete(key);
    }
    const added = [...keys].filter((key) => !this.#watched.has(key));
    for (const key of added) {
      const watch = new EntryWatch({
        instance: this.#instance,
        clock,
        fingerprint: (bytes, ways) => fingerprint(key, bytes, ways),
        leases: () => leases?.(key),
        standing,
        look: (isOld) => look(key, isOld),
        onChange: (isSettled) => this.#report(isSettled),
      });
      const connection = this.#link?.connection;
      this.#watched.set(key, { watch, subscriptions: connection ? this.#subscribe(connection, key) : [] });
    }
    return added;
  }

  #subscribe(connection: NatsConnection, key: string): readonly Subscription[] {
    // It has been lost a moment ago: with the next one everything is subscribed to again.
    if (connection.isClosed()) return [];
    const callback = (error: Error | null, message: Msg) => {
      if (!error) this.#onEntry(key, message);
    };
    return [
      connection.subscribe(subjects.entry(key), { callback }),
      connection.subscribe(subjects.call(key), { callback: this.#callback(key) }),
    ];
  }

  /** After the subscriptions, so that nothing falls between. Never rejects. */
  async #readStored(connection: NatsConnection, keys: readonly string[]): Promise<void> {
    const unanswered = await Promise.all(keys.map((key) => this.#readOne(connection, key)));
    if (this.#isClosed || this.#link.connection !== connection) return;
    this.#unanswered = unanswered.find((lack) => lack !== undefined);
    this.#judge();
    this.#report(true);
    const isLacking = this.#refused ?? this.#tooLong;
    const base = this.#unanswered ? LOOK_SOON_MS : isLacking ? TRY_AGAIN_MS : LOOK_EVERY_MS;
    this.#nextLook?.cancel();
    const again = () => void this.#lookAgain(connection);
    this.#nextLook = this.#options.clock.after(base * (0.8 + Math.random() * 0.4), again, {
      background: true,
    });
  }

  /** Never rejects. */
  async #lookAgain(connection: NatsConnection): Promise<void> {
    if (this.#tooLong) return this.#link.renew();
    if (this.#refused) await this.#tryAgain(connection);
    if (!this.#isClosed) await this.#readStored(connection, [...this.#watched.keys()]);
  }

  /** What kept the server from answering. */
  async #readOne(connection: NatsConnection, key: string): Promise<Lack | undefined> {
    try {
      const message = await connection.request(subjects.stored(key), Empty, { timeout: ANSWER_MS });
      // 404: nobody has put any.
      if (!message.headers?.hasError) this.#onEntry(key, message);
      return undefined;
    } catch (error) {
      return lackOf(error);
    }
  }

  #onEntry(key: string, message: Msg): void {
    const entry = readEntry(message.data);
    const sequence = Number(message.headers?.get("Nats-Sequence"));
    if (!entry || !Number.isSafeInteger(sequence) || sequence < 1) this.#dropped += 1;
    else this.#watched.get(key)?.watch.hear(entry, sequence);
  }

  /** @param key of the secret that is asked after: then also what is stored is read, since messages can be lost */
  #callback(key?: string) {
    return (error: Error | null, { data }: Msg): void => {
      if (error || this.#isClosed) return;
      const call = readCall(data);
      if (!call || this.#answers.size >= MOST_ANSWERS) {
        this.#dropped += 1;
        return;
      }
      if (call.hold && key !== undefined && this.#holdCalls) {
        this.#later(BREATH_MS, () => undefined);
        this.#holdCalls.hear(key, call.id, call.hold);
        return;
      }
      this.#later(Math.random() * (call.spreadMs ?? 0), () => {
        this.#later(BREATH_MS, () => undefined);
        const { connection } = this.#link;
        if (!connection) return;
        this.#say(connection, call.id);
        if (key !== undefined) void this.#readOne(connection, key);
      });
    };
  }

  #later(ms: number, work: () => void): void {
    const { clock } = this.#options;
    const due = () => {
      this.#answers.delete(timer);
      work();
    };
    const timer = clock.after(ms, due, { background: true });
    this.#answers.add(timer);
  }

  /** What happens in one go is one report; what is passing may never have to be said. */
  #report(isUrgent: boolean): void {
    if (this.#isClosed || !this.#link?.connection) return;
    if (this.#nextReport && (this.#nextReport.isUrgent || !isUrgent)) return;
    this.#nextReport?.timer.cancel();
    const say = () => {
      this.#nextReport = undefined;
      if (this.#link.connection) this.#say(this.#link.connection);
    };
    const timer = this.#options.clock.after(isUrgent ? 0 : PASSING_MS, say, { background: true });
    this.#nextReport = { timer, isUrgent };
  }

  /** False if that is impossible. */
  #say(connection: NatsConnection, call?: string, state: "serving" | "ended" = "serving"): boolean {
    const line = this.#reportAs(state, call);
    this.#tooLong = this.#lackOfRoom(connection, line);
    this.#judge();
    if (this.#tooLong) return false;
    try {
      connection.publish(subjects.report(this.#options.host, this.#instance), line);
      return true;
    } catch {
      // It has been closed a moment ago: a report follows when there is a new one.
      return false;
    }
  }

  #lackOfRoom(connection: NatsConnection, line: string): Lack | undefined {
    const room = roomOf(connection);
    return Buffer.byteLength(line) > room
      ? lackOfRoom("the server", room, "its reports are longer")
      : undefined;
  }

  #reportAs(state: "serving" | "ended", call?: string): string {
    const followed = (key: string) => this.#watched.get(key)?.watch;
    const hold = this.#holdCalls?.said;
    const asked = { ...(call !== undefined && { call }), ...(hold && { hold }) };
    const life = { instance: this.#instance, state, ...asked };
    return memberReport(this.#options, followed, life);
  }

  async #hearRefusals(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type !== "error") continue;
      const lack = lackOf(status.error);
      if (this.#trial) this.#trial.refused ??= lack;
      else this.#refused ??= lack;
      this.#judge();
    }
  }

  /** Whether the connection is of use. */
  #judge(): void {
    if (this.#state.id !== "connected") return;
    const { id, since, server } = this.#state;
    const lacks = this.#refused ?? this.#tooLong ?? this.#unanswered;
    this.#become({ id, since, server, ...(lacks && { lacks }) });
  }
}

function reasonOf(state: BusState): string | undefined {
  return state.id === "connected" ? state.lacks?.reason : "reason" in state ? state.reason : undefined;
}

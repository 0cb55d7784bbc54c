/**
 * One client, several servers in turn: decides for each line where it goes and what it says there. Pure: lines
 * in, verdicts out; who moves the bytes is not its business. A request goes to one server, once; an answer goes
 * to the client once, whoever gave it.
 *
 *   next --takeOver--> current --another takes over--> draining --over--> (gone)
 *     \--------------------------ended: over------------------------------/
 *
 * | a line of the client       | goes to                                                            |
 * | request                    | current; one with a word of the old server, to that one; else held |
 * | answer, progress           | the server whose request it is about, in that server's own words   |
 * | cancelled                  | the server that has the request; a held one is dropped             |
 * | other notification         | every server that has been introduced; held while there is none    |
 */
import { batchLines } from "./batch.ts";
import { errorResponse, withdrawal } from "./error-response.ts";
import { HeldLines } from "./held-lines.ts";
import { rawValue } from "./json-span.ts";
import type { ClientRequest } from "./ledger.ts";
import type { Line } from "./line.ts";
import { wordsIn } from "./long-work.ts";
import { isId, keyOf } from "./message-id.ts";
import { Recall } from "./recall.ts";
import { ServerRequests } from "./server-requests.ts";
import type { SessionOptions } from "./session-options.ts";
import { Traffic } from "./traffic.ts";
import { type ClientVerdict, type ServerVerdict, toEach, together, toSome } from "./verdict.ts";

const CURRENT: ClientVerdict = { to: "current" };
const NOBODY: ClientVerdict = { to: "nobody" };
const HELD: ClientVerdict = { to: "held" };
const LIST_CHANGED = /^notifications\/(tools|resources|prompts)\/list_changed$/;
const SUBSCRIPTION = ["params", "_meta", "io.modelcontextprotocol/subscriptionId"];

export class Session {
  readonly recall: Recall;
  readonly #onIdle: (generation: number) => void;
  readonly #now: () => number;
  readonly #calls: SessionOptions["calls"];
  readonly #traffic = new Map<number, Traffic>();
  readonly #serverRequests = new ServerRequests();
  readonly #held = new HeldLines();
  #current: Traffic | undefined;
  #isHolding = false;
  #isWithheld = false;
  #hasAnswered = false;

  constructor({ onIdle = () => undefined, now = () => 0, onIntroduced, calls }: SessionOptions = {}) {
    this.recall = new Recall(onIntroduced);
    this.#calls = calls;
    this.#onIdle = onIdle;
    this.#now = now;
  }

  /** A server is there, and is not the current one yet. Numbers begin with 1 and grow. */
  begin(number: number): void {
    this.#traffic.set(number, new Traffic(number, this.#onIdle, this.#calls));
  }

  /** From now on this server gets what is new. Answers the lines that were held, in order: they go to it now. */
  takeOver(number: number): readonly Buffer[] {
    const next = this.#of(number);
    if (this.#current) this.#current.place = "draining";
    next.place = "current";
    next.isIntroduced = true;
    this.#current = next;
    this.#isHolding = false;
    return this.#isWithheld ? [] : this.#handOver(next);
  }

  /** New requests wait until another server takes over. */
  hold(): void {
    this.#isHolding = true;
  }

  /** New requests wait, whoever takes over meanwhile; but a ping is no work, and passes. */
  withhold(): void {
    this.#isWithheld = true;
  }

  /** No longer. Answers the lines that were held, in order: they go to the current server now; else to the next. */
  letGo(): readonly Buffer[] {
    this.#isWithheld = false;
    return this.#current && !this.#isHolding ? this.#handOver(this.#current) : [];
  }

  /** Answers for the requests that are held since before `since`, which no server will have heard. */
  refuseHeld(reason: string, since = Number.POSITIVE_INFINITY): readonly Buffer[] {
    return this.#refuse(this.#held.dropLate(since), reason);
  }

  /** The requests that are held, handed over to who answers them; what else is held goes nowhere. */
  takeHeld(): readonly ClientRequest[] {
    return this.#held.take().flatMap(({ envelope }) => (envelope.type === "request" ? [envelope] : []));
  }

  /** What waits for a server, and reaches the next one by itself. */
  get held(): Pick<HeldLines, "bytes" | "has"> {
    return this.#held;
  }

  /** The current server takes nothing more, though what it has said may still come: what is new is held. */
  lost(number: number): void {
    const traffic = this.#of(number);
    traffic.place = "draining";
    traffic.isDeaf = true;
    if (this.#current === traffic) this.#current = undefined;
  }

  /**
   * Nothing more comes of this generation. Answers what the client is owed: an error for each request that it
   * still had, and word that nobody waits any more for what it had asked the client.
   */
  over(number: number, reason: string): readonly Buffer[] {
    const traffic = this.#traffic.get(number);
    if (!traffic) return [];
    const lines = this.abandon(number, reason);
    this.#traffic.delete(number);
    if (this.#current === traffic) this.#current = undefined;
    return lines;
  }

  /** The same while it still runs: whatever it says from now on is dropped. */
  abandon(number: number, reason: string): readonly Buffer[] {
    const traffic = this.#of(number);
    traffic.isMuted = true;
    const unanswered = traffic.ledger.takeUnanswered().map(({ id }) => id);
    const errors = this.#refuse(unanswered, reason);
    const withdrawn = this.#serverRequests.abandon(number).map((id) => withdrawal(id));
    return [...errors, ...withdrawn];
  }

  isBusy(number: number): boolean {
    return this.#traffic.get(number)?.isBusy ?? false;
  }

  /** What the client has asked this generation and not heard yet, oldest first. */
  unanswered(number: number): readonly ClientRequest[] {
    return this.#traffic.get(number)?.ledger.requests ?? [];
  }

  /** The same, handed over to who answers them. */
  takeUnanswered(number: number): readonly ClientRequest[] {
    return this.#traffic.get(number)?.ledger.takeUnanswered() ?? [];
  }

  /** True once any server has answered any request of the client. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** A request of our own goes to this server: its answer comes to `onAnswer` and not to the client. */
  expect(number: number, id: string, onAnswer: (answer: Line) => void): void {
    this.#of(number).ours.set(keyOf(id), onAnswer);
  }

  forgetExpected(number: number, id: string): void {
    this.#traffic.get(number)?.ours.delete(keyOf(id));
  }

  /** This listen was repeated to the server: it has to hear its end too. */
  repeatedListen(number: number, id: string): void {
    this.#of(number).repeated.add(keyOf(id));
  }

  /** The server has been introduced: notifications of the client reach it from now on. */
  introduced(number: number): void {
    this.#of(number).isIntroduced = true;
  }

  clientSaid(line: Line): ClientVerdict {
    const { envelope } = line;
    switch (envelope.type) {
      case "request":
        return this.#clientAsked(line, envelope.id, envelope.method);
      case "notification":
        return this.#clientNotified(line, envelope.method);
      case "response":
        return this.#clientAnswered(line, envelope.id);
      case "batch":
        return this.#clientBatch(line);
      case "opaque":
        return this.#mustWait || !this.#current ? this.#hold(line) : CURRENT;
    }
  }

  serverSaid(number: number, line: Line): ServerVerdict {
    const traffic = this.#traffic.get(number);
    if (!traffic || traffic.isMuted) return false;
    const { envelope } = line;
    switch (envelope.type) {
      case "request":
        return this.#serverAsked(traffic, line, envelope.id);
      case "notification":
        return this.#serverNotified(traffic, line, envelope.method);
      case "response":
        return this.#serverAnswered(traffic, line, envelope.id);
      case "batch":
        return this.#serverBatch(traffic, line);
      case "opaque":
        return true;
    }
  }

  /** What a line of a server is about: its own method, or that of the request that it answers. */
  methodOf(number: number, { envelope }: Line): string | undefined {
    if (envelope.type === "request" || envelope.type === "notification") return envelope.method;
    if (envelope.type !== "response") return undefined;
    return this.#traffic.get(number)?.ledger.get(envelope.id)?.method;
  }

  /** An answer that was too long to be passed on: somebody else tells the client. False if nobody waits for it. */
  serverAnsweredTooLong(number: number, id: string): boolean {
    return this.#of(number).ledger.answered(id) !== undefined;
  }

  #clientAsked(line: Line, id: string, method: string): ClientVerdict {
    this.recall.clientSaid(line);
    const old = this.#draining();
    const words = old ? wordsIn(line) : [];
    if (old && words.length > 0 && !this.#current?.work.knows(words)) {
      old.work.clientReferred(words);
      old.ledger.clientSaid(line);
      return toEach([old], line.bytes);
    }
    if (this.#current && (!this.#mustWait || (method === "ping" && !this.#isHolding))) {
      this.#current.ledger.clientSaid(line);
      return CURRENT;
    }
    if (method === "ping" && !this.#current) {
      return { to: "client", bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{}}\n`) };
    }
    return this.#hold(line, id);
  }

  #clientNotified(line: Line, method: string): ClientVerdict {
    if (method === "notifications/cancelled") return this.#clientCancelled(line);
    if (method === "notifications/progress") {
      const addressed = this.#serverRequests.progressed(line);
      if (addressed) return toSome([addressed]);
      return this.#isAlone() ? CURRENT : NOBODY;
    }
    this.recall.clientSaid(line);
    if (this.#isAlone()) return CURRENT;
    const introduced = [...this.#traffic.values()].filter(
      ({ isIntroduced, isMuted, isDeaf }) => isIntroduced && !isMuted && !isDeaf,
    );
    // The next server hears that the client is ready before it takes over.
    if (introduced.length === 0) return method === "notifications/initialized" ? NOBODY : this.#hold(line);
    return toEach(introduced, line.bytes);
  }

  #clientCancelled(line: Line): ClientVerdict {
    const id = rawValue(line.bytes, ["params", "requestId"]);
    if (id === undefined || !isId(id)) return this.#current ? CURRENT : NOBODY;
    if (this.#held.drop(id)) {
      this.recall.listenEnded(id);
      return NOBODY;
    }
    if (this.recall.listenEnded(id)) {
      if (this.#isAlone()) return CURRENT;
      const hearers = [...this.#traffic.values()].filter((traffic) => traffic.knowsListen(id));
      return toEach(hearers, line.bytes);
    }
    for (const traffic of this.#traffic.values()) {
      if (!traffic.ledger.get(id)) continue;
      traffic.ledger.clientSaid(line);
      return traffic === this.#current ? CURRENT : toEach([traffic], line.bytes);
    }
    return this.#isAlone() ? CURRENT : NOBODY;
  }

  #clientAnswered(line: Line, id: string): ClientVerdict {
    const addressed = this.#serverRequests.answered(id, line);
    if (!addressed) return this.#isAlone() && this.#current?.number === 1 ? CURRENT : NOBODY;
    if (addressed.generation === this.#current?.number && addressed.bytes === line.bytes) return CURRENT;
    return this.#traffic.has(addressed.generation) ? toSome([addressed]) : NOBODY;
  }

  /** Where there is only the first server, a batch passes whole; otherwise its members go their own ways. */
  #clientBatch(line: Line): ClientVerdict {
    const members = [...batchLines(line.bytes)];
    if (this.#isAlone() && this.#current?.number === 1) {
      for (const member of members) this.clientSaid(member);
      return CURRENT;
    }
    const judged = members.map((member) => ({ bytes: member.bytes, verdict: this.clientSaid(member) }));
    return together(judged, this.#current?.number);
  }

  #serverAsked(traffic: Traffic, line: Line, id: string): ServerVerdict {
    const bytes = this.#serverRequests.asked(traffic.number, id, line.bytes);
    return traffic.number === 1 ? true : [bytes];
  }

  #serverNotified(traffic: Traffic, line: Line, method: string): ServerVerdict {
    const { place, work } = traffic;
    if (method === "notifications/cancelled") return this.#serverWithdrew(traffic, line);
    if (method === "notifications/subscriptions/acknowledged") {
      const id = rawValue(line.bytes, SUBSCRIPTION);
      if (id !== undefined && isId(id) && this.recall.isListen(id)) return this.recall.listenAcknowledged(id);
    }
    if (method === "notifications/tasks/status") {
      work.serverSaid(line, false);
      traffic.tellIfIdle();
    }
    if (place === "current") return true;
    // The swap itself tells the client if a list differs; and a subscription is moved, so only one may speak of it.
    if (LIST_CHANGED.test(method) || method === "notifications/resources/updated") return false;
    if (method === "notifications/subscriptions/acknowledged") return false;
    return place === "next" || rawValue(line.bytes, SUBSCRIPTION) === undefined;
  }

  #serverWithdrew(traffic: Traffic, line: Line): ServerVerdict {
    const bytes = this.#serverRequests.withdrawn(traffic.number, line.bytes);
    if (bytes !== undefined) return traffic.number === 1 ? true : [bytes];
    const id = rawValue(line.bytes, ["params", "requestId"]);
    if (id === undefined || !isId(id) || !this.recall.isListen(id)) return traffic.place === "current";
    if (traffic.place !== "current") return false;
    this.recall.listenEnded(id);
    return true;
  }

  #serverAnswered(traffic: Traffic, line: Line, id: string): ServerVerdict {
    const { ours, ledger, work, place } = traffic;
    if (ours.size > 0) {
      const key = keyOf(id);
      const onAnswer = ours.get(key);
      if (onAnswer) {
        ours.delete(key);
        onAnswer(line);
        return false;
      }
    }
    const hasOld = this.#traffic.size > 1;
    if (hasOld || this.recall.mayWorkLong) work.serverSaid(line, hasOld);
    const request = ledger.answered(id, line);
    if (request) {
      this.#hasAnswered = true;
      this.recall.serverAnswered(request, line);
      return true;
    }
    if (!this.recall.isListen(id)) return place !== "next";
    if (place !== "current") return false;
    this.recall.listenEnded(id);
    return true;
  }

  #serverBatch(traffic: Traffic, line: Line): ServerVerdict {
    const members = [...batchLines(line.bytes)];
    const verdicts = members.map((member) => this.serverSaid(traffic.number, member));
    if (verdicts.every((verdict) => verdict === true)) return true;
    return members.flatMap((member, index) => {
      const verdict = verdicts[index];
      if (verdict === true) return [member.bytes];
      return verdict === false || verdict === undefined ? [] : verdict;
    });
  }

  /** Nor will any later server hear of it: the client has been told that it has failed. */
  #refuse(ids: readonly string[], reason: string): readonly Buffer[] {
    for (const id of ids) this.recall.refused(id);
    return ids.map((id) => errorResponse(id, reason));
  }

  #hold(line: Line, id?: string): ClientVerdict {
    this.#held.add(line, id, this.#now());
    return HELD;
  }

  #draining(): Traffic | undefined {
    if (this.#traffic.size < 2) return undefined;
    for (const traffic of this.#traffic.values()) {
      if (traffic.place === "draining" && !traffic.isMuted && !traffic.isDeaf) return traffic;
    }
    return undefined;
  }

  /** True if there is one server, it is current, and nothing waits for another. */
  #isAlone(): boolean {
    return this.#traffic.size === 1 && this.#current !== undefined && !this.#mustWait;
  }

  get #mustWait(): boolean {
    return this.#isHolding || this.#isWithheld;
  }

  #handOver(next: Traffic): readonly Buffer[] {
    const held = this.#held.take();
    for (const line of held) next.ledger.clientSaid(line);
    return held.map(({ bytes }) => bytes);
  }

  #of(number: number): Traffic {
    const traffic = this.#traffic.get(number);
    if (!traffic) throw new Error(`there is no generation ${number}`);
    return traffic;
  }
}

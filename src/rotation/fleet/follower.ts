/**
 * Follows one supervisor from the word that there is something new until its server has it. Times of the other
 * process are compared only with each other: what has changed since the first answer has come of our asking.
 *
 *   silent    -> pending, and asked again; one that has said nothing yet as if for the first time
 *   has none of these secrets, and the old value by no other ref: nobody
 *   pending   -> acknowledged | gone ...... over
 *             -> failed | cannot-swap ..... settled; it may still acknowledge, while others are waited for
 *   what fails for a reason that may pass stays pending, and is told to look again
 */
import { hostname } from "node:os";
import type { Outcome, Question } from "../../control/client.ts";
import type { Endpoint } from "../../control/endpoint.ts";
import type { Answer, RequestType, SupervisorStatus } from "../../control/protocol.ts";
import type { SecretName } from "../../secrets/identity.ts";
import type { Acknowledgement, Member, Wanted } from "../contract.ts";

export type Ask = <Type extends RequestType>(
  endpoint: Endpoint,
  question: Question<Type>,
) => Promise<Outcome<Type>>;

export interface Goal {
  /** An emergency: nobody is to wait longer than needed for an old server. */
  readonly rotation?: string;
  readonly wanted: readonly Wanted[];
  readonly key: Buffer;
}

/** Looks after which it is told again that there is something new. */
const LOOKS_BEFORE_REMINDER = 5;

export class Follower {
  readonly endpoint: Endpoint;
  readonly #goal: Goal;
  readonly #ask: Ask;
  readonly #removeIfStale: (endpoint: Endpoint) => boolean;
  #told: Acknowledgement | undefined;
  /** What it said of itself before it can have looked. */
  #before: SupervisorStatus | undefined;
  /** Fingerprints of what it had then, by ref; asked for only where anything else than that is wanted. */
  #hadBefore: ReadonlyMap<string, string> | undefined;
  /** It had other leases than those that are meant when it was first asked, as in a rotation that goes on. */
  #isLentAnew = false;
  #isOver = false;
  #looks = 0;
  /** Why its last look has failed, where that may pass. */
  #setback: string | undefined;

  constructor(endpoint: Endpoint, goal: Goal, ask: Ask, removeIfStale: (endpoint: Endpoint) => boolean) {
    this.endpoint = endpoint;
    this.#goal = goal;
    this.#ask = ask;
    this.#removeIfStale = removeIfStale;
  }

  /** Undefined as long as nothing is known of it, and for one that has none of these secrets. */
  get acknowledgement(): Acknowledgement | undefined {
    return this.#told;
  }

  /** What is known of it in the end; undefined for one that has none of these secrets. */
  get conclusion(): Acknowledgement | undefined {
    if (this.#told || this.#isOver) return this.#told;
    return { ...strangerAt(this.endpoint), state: "pending", reason: "it has not answered yet" };
  }

  /** Nothing will change any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nobody has to wait for it. */
  get isSettled(): boolean {
    return this.#isOver || this.#told?.state === "failed" || this.#told?.state === "cannot-swap";
  }

  /** Asks once more. */
  async look(): Promise<void> {
    if (this.#before) await this.#lookAgain(this.#before);
    else await this.#introduce();
  }

  async #introduce(): Promise<void> {
    if (this.#isAnyOther && !this.#hadBefore) {
      const said = await this.#ask(this.endpoint, this.#whatItHas);
      if (said.type === "absent") return this.#isGone();
      if (said.type !== "answered") return this.#isUnclear(said);
      this.#hadBefore = new Map(said.answer.secrets.map(({ ref, fingerprint }) => [ref, fingerprint]));
      this.#isLentAnew = this.#hasWhatIsWanted(said.answer);
    }
    const [status, refresh] = await Promise.all([
      this.#ask(this.endpoint, { type: "status" }),
      this.#ask(this.endpoint, this.#pleaseLook),
    ]);
    if (refresh.type === "absent") this.#isGone();
    else if (refresh.type !== "answered") this.#isUnclear(refresh);
    else if (!refresh.answer.accepted) this.#isNobody();
    else if (status.type === "answered") {
      this.#isMember(status.answer.status);
      if (this.#isLentAnew) this.#acknowledges(status.answer.status.generation);
    } else if (status.type !== "absent") this.#isUnclear(status);
  }

  #isNobody(): void {
    this.#told = undefined;
    this.#isOver = true;
  }

  #isMember(status: SupervisorStatus): void {
    this.#before = status;
    this.#told = { ...memberOf(status), state: "pending" };
  }

  #isUnclear(outcome: Extract<Outcome<RequestType>, { type: "refused" | "silent" }>): void {
    const isFinal = outcome.type === "refused";
    const reason = isFinal ? `it refuses: ${outcome.error.message}` : outcome.reason;
    // It is there, and may have the old value: nobody may go on as if it were away.
    this.#become(isFinal ? "failed" : "pending", reason);
    this.#isOver = isFinal;
  }

  async #lookAgain(before: SupervisorStatus): Promise<void> {
    const said = await this.#ask(this.endpoint, this.#whatItHas);
    if (said.type === "absent") return this.#isGone();
    if (said.type !== "answered") return this.#isUnclear(said);
    if (this.#hasWhatIsWanted(said.answer)) {
      if (said.answer.isDraining) return this.#waits("its old server finishes its work");
      return this.#acknowledges(said.answer.generation);
    }
    if (said.answer.isChanging && canSwap(before)) return this.#waits(this.#setback ?? "it is still looking");
    const status = await this.#ask(this.endpoint, { type: "status" });
    if (status.type !== "answered") return;
    const copy = said.answer.secrets.find(({ isCopy }) => isCopy);
    await this.#judge(before, status.answer.status, copy?.ref);
  }

  #isGone(): void {
    // Else it is just about to listen.
    if (!this.#removeIfStale(this.endpoint)) return;
    if (this.#told) this.#become("gone", "it has ended");
    this.#isOver = true;
  }

  #acknowledges(generation: number): void {
    const { reason: _reason, ...told } = this.#told ?? { ...strangerAt(this.endpoint), reason: undefined };
    this.#told = { ...told, generation, state: "acknowledged" };
    this.#isOver = true;
  }

  /** One that had the old value by another ref, and has it no more, is not heard of again. */
  #hasWhatIsWanted({ secrets }: Answer<"acknowledge">): boolean {
    if (secrets.length === 0) return this.#ends.length > 0 && this.#told !== undefined;
    return secrets.every((secret) => this.#isWhatIsWanted(secret));
  }

  #isWhatIsWanted({ ref, fingerprint, lease, isCopy }: Answer<"acknowledge">["secrets"][number]): boolean {
    // With the value that is about to end, from a place in which this rotation does not replace it.
    if (isCopy) return false;
    const wanted = this.#goal.wanted.find(({ from }) => from === ref);
    if (wanted?.oldLeases && lease !== undefined) return !wanted.oldLeases.includes(lease);
    return wanted?.fingerprint === undefined
      ? fingerprint !== this.#hadBefore?.get(ref)
      : fingerprint === wanted.fingerprint;
  }

  get #whatItHas(): Question<"acknowledge"> {
    return { type: "acknowledge", ...this.#meant };
  }

  get #pleaseLook(): Question<"refresh"> {
    const renew = this.#isAnyOther && !this.#isLentAnew;
    const { rotation } = this.#goal;
    return {
      type: "refresh",
      ...this.#meant,
      ...(rotation !== undefined && { rotation }),
      ...(renew && { renew }),
    };
  }

  get #meant() {
    const { wanted, key } = this.#goal;
    const values = this.#ends;
    return {
      ...questionOf(wanted),
      ...(values.length > 0 && { values: [...values] }),
      key: key.toString("base64url"),
    };
  }

  /** Fingerprints of the values that are about to end. */
  get #ends(): readonly string[] {
    return this.#goal.wanted.flatMap(({ replaces }) => (replaces === undefined ? [] : [replaces]));
  }

  /** Of one of them every value will do but the one that it has had. */
  get #isAnyOther(): boolean {
    return this.#goal.wanted.some(({ fingerprint }) => fingerprint === undefined);
  }

  /** It does not have what is wanted: is that still to come? */
  async #judge(
    before: SupervisorStatus,
    { refresh, era }: SupervisorStatus,
    copiedAt: string | undefined,
  ): Promise<void> {
    if (refresh.mode === "exec") return this.#become("cannot-swap", "it runs under exec");
    const isIntroduced = era !== "undecided";
    if (refresh.isLooking && (isIntroduced || refresh.mode !== "never"))
      return this.#waits(
        isIntroduced ? (this.#setback ?? "it is still looking") : "it waits for its client's handshake",
      );
    const { lastFailure, lastLookAt } = refresh;
    const failure = lastFailure?.at === before.refresh.lastFailure?.at ? undefined : lastFailure;
    const hasLooked = lastLookAt !== before.refresh.lastLookAt;
    if (refresh.mode === "never") {
      if (failure || hasLooked || !isIntroduced)
        this.#become("cannot-swap", "its profile has `restart: never`");
      return;
    }
    const isLast = failure && (!hasLooked || Date.parse(failure.at) >= Date.parse(lastLookAt ?? failure.at));
    if (isLast && !failure.mayPass) return this.#become("failed", failure.reason);
    this.#setback = isLast ? `it could not look, and tries again: ${failure.reason}` : undefined;
    const found = `it has looked, and found the old value${copiedAt === undefined ? "" : `, a copy of it at ${copiedAt}`}`;
    this.#waits(this.#setback ?? (hasLooked ? found : "it has not looked yet"));
    if (++this.#looks % LOOKS_BEFORE_REMINDER > 0) return;
    await this.#ask(this.endpoint, this.#pleaseLook);
  }

  /** One that has failed is not taken back: it tries again by itself, and may fail again. */
  #waits(reason: string): void {
    if (this.#told?.state === "pending") this.#become("pending", reason);
  }

  #become(state: Acknowledgement["state"], reason: string): void {
    this.#told = { ...(this.#told ?? strangerAt(this.endpoint)), state, reason };
  }
}

export function memberOf(status: SupervisorStatus): Member {
  const { host, pid, profile, generation, fleet } = status;
  return {
    host: fleet?.host ?? host,
    pid,
    profile,
    generation,
    canSwap: canSwap(status),
    ...(fleet?.instance !== undefined && { instance: fleet.instance }),
  };
}

function canSwap({ refresh: { mode } }: SupervisorStatus): boolean {
  return mode !== "never" && mode !== "exec";
}

/** As a request names secrets. */
export function questionOf(secrets: readonly SecretName[]): { refs: string[]; places: (string | null)[] } {
  return { refs: secrets.map(({ from }) => from), places: secrets.map(({ place }) => place ?? null) };
}

/** Somebody who does not say who he is. */
export function strangerAt({ pid }: Endpoint): Member {
  return { host: hostname(), pid, profile: "?", generation: 0, canSwap: true };
}

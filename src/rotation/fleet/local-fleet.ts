/**
 * The supervisors of this user on this machine, by way of their sockets. Nothing secret goes over them: a supervisor is
 * told to look, fetches what is new by itself, and proves it with a fingerprint. Whoever does not answer is named.
 */
import { setMaxListeners } from "node:events";
import { type Clock, pause } from "../../clock.ts";
import { type Outcome, type Question, tryToAsk } from "../../control/client.ts";
import { type ControlPlace, type Endpoint, listEndpoints, removeIfStale } from "../../control/endpoint.ts";
import type { RequestType, SecretStatus, SupervisorStatus } from "../../control/protocol.ts";
import { askAll } from "../../control/supervisors.ts";
import { type SecretName, wayWithin } from "../../secrets/identity.ts";
import type {
  Acknowledgement,
  Fleet,
  Holder,
  LeaseHolder,
  Member,
  SecretInUse,
  Wanted,
} from "../contract.ts";
import { Follower, type Goal, memberOf, questionOf, strangerAt } from "./follower.ts";
import { holdRequests } from "./holding.ts";
import { Turns } from "./turns.ts";

/** Ms for one answer. */
const ANSWER_MS = 2_000;
/** Questions at the same time. */
const MOST_AT_ONCE = 256;
/** Ms between two looks for supervisors that were being started. */
const LIST_MS = 100;
/** Ms between two questions to the same supervisor: at first, how much more each time, and at most. */
const FIRST_PAUSE_MS = 50;
const PAUSE_GROWTH = 1.5;
const LONGEST_PAUSE_MS = 1_000;

export interface LocalFleetOptions {
  /** Whose word it is; undefined as long as it is only planned. */
  readonly rotation?: string;
  readonly place: ControlPlace;
  readonly clock: Clock;
}

export class LocalFleet implements Fleet {
  readonly #options: LocalFleetOptions;

  constructor(options: LocalFleetOptions) {
    this.#options = options;
  }

  /**
   * One that does not answer is among them, with `?` for its profile: it may have them.
   * Throws McpRunError where others can enter the folder of the sockets, and the signal's reason.
   */
  async list(secrets: readonly SecretInUse[], signal: AbortSignal, key: Buffer): Promise<readonly Member[]> {
    const question = askedFor(secrets, key);
    const { place, clock } = this.#options;
    const options = { timeoutMs: ANSWER_MS, clock, signal };
    const heard = await askAll(place, { type: "status" }, options);
    const members = heard.map(async ({ endpoint, outcome }) => {
      if (outcome.type !== "answered") return strangerAt(endpoint);
      const { status } = outcome.answer;
      return (await this.#uses(status, secrets, question, endpoint, signal)) ? memberOf(status) : undefined;
    });
    return (await Promise.all(members)).filter((member) => member !== undefined);
  }

  /** See Fleet; throws as `list` does. Who does not answer is left out: whoever spreads has waited for it. */
  async leaseHolders(
    wanted: readonly Wanted[],
    under: Buffer,
    signal: AbortSignal,
  ): Promise<readonly LeaseHolder[]> {
    const { place, clock } = this.#options;
    const options = { timeoutMs: ANSWER_MS, clock, signal };
    const key = under.toString("base64url");
    const [statuses, heard] = await Promise.all([
      askAll(place, { type: "status" }, options),
      askAll(place, { type: "acknowledge", ...questionOf(wanted), key }, options),
    ]);
    return heard.flatMap(({ endpoint, outcome }) => {
      if (outcome.type !== "answered") return [];
      const leases = outcome.answer.secrets.flatMap(({ lease }) => (lease === undefined ? [] : [lease]));
      const said = statuses.find((other) => other.endpoint.path === endpoint.path)?.outcome;
      const member = said?.type === "answered" ? memberOf(said.answer.status) : strangerAt(endpoint);
      return leases.length > 0 ? [{ ...member, leases: [...new Set(leases)] }] : [];
    });
  }

  /** See Fleet; throws as `list` does. Nobody is asked as long as it is only planned. */
  async hold(secrets: readonly SecretInUse[], key: Buffer, signal: AbortSignal): Promise<readonly Holder[]> {
    const { rotation, ...options } = this.#options;
    if (rotation === undefined) return [];
    return holdRequests({ ...options, rotation }, await this.list(secrets, signal, key), secrets, signal);
  }

  /** A status names refs; whether it has the value by another ref has to be asked. */
  async #uses(
    { secrets, secretsLeftOut = 0 }: SupervisorStatus,
    wanted: readonly SecretName[],
    question: Question<"acknowledge">,
    endpoint: Endpoint,
    signal: AbortSignal,
  ): Promise<boolean> {
    const isWanted = ({ ref: from, place }: SecretStatus) =>
      wanted.some((one) => wayWithin({ from, place }, one));
    if (secrets.some(isWanted)) return true;
    if (secretsLeftOut === 0 && !question.values) return false;
    const { clock } = this.#options;
    const options = { timeoutMs: ANSWER_MS, clock, signal };
    const said = await tryToAsk(endpoint, question, options);
    return said.type !== "answered" || said.answer.secrets.length > 0;
  }

  /** See Fleet; throws as `list` does. */
  async spread(
    wanted: readonly Wanted[],
    key: Buffer,
    timeoutMs: number,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ): Promise<readonly Acknowledgement[]> {
    const { rotation } = this.#options;
    const spreading = new Spreading(
      this.#options,
      { ...(rotation !== undefined && { rotation }), wanted, key },
      signal,
      onProgress,
    );
    return spreading.run(timeoutMs);
  }
}

class Spreading {
  readonly #options: LocalFleetOptions;
  readonly #goal: Goal;
  readonly #onProgress: (acknowledgements: readonly Acknowledgement[]) => void;
  readonly #turns = new Turns(MOST_AT_ONCE);
  /** By the path of the socket, in the order in which they were found. */
  readonly #followers = new Map<string, Follower>();
  readonly #following: Promise<void>[] = [];
  readonly #enough = new AbortController();
  readonly #stop: AbortSignal;

  constructor(
    options: LocalFleetOptions,
    goal: Goal,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ) {
    this.#options = options;
    this.#goal = goal;
    this.#stop = AbortSignal.any([signal, this.#enough.signal]);
    // Every question listens to it, and node would take so many for a leak.
    setMaxListeners(0, this.#stop);
    this.#onProgress = onProgress;
  }

  async run(timeoutMs: number): Promise<readonly Acknowledgement[]> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    try {
      this.#followNew();
      // One that had been started before the new value was there may come to its socket only now.
      for (let left = timeoutMs; left > 0; left = deadline - clock.monotonic()) {
        await pause(clock, Math.min(LIST_MS, left), this.#stop);
        const hasNew = this.#followNew();
        if (!hasNew && [...this.#followers.values()].every(({ isSettled }) => isSettled)) break;
      }
    } finally {
      this.#enough.abort(new Error("the answers have been counted"));
      await Promise.all(this.#following);
    }
    return this.#each(({ conclusion }) => conclusion);
  }

  #each(of: (follower: Follower) => Acknowledgement | undefined): readonly Acknowledgement[] {
    return [...this.#followers.values()].map(of).filter((known) => known !== undefined);
  }

  #followNew(): boolean {
    const { place, clock } = this.#options;
    const found = listEndpoints(place).filter(({ path }) => !this.#followers.has(path));
    for (const endpoint of found) {
      const follower = new Follower(endpoint, this.#goal, this.#ask, (stale) =>
        removeIfStale(stale, clock.now()),
      );
      this.#followers.set(endpoint.path, follower);
      this.#following.push(this.#follow(follower));
    }
    return found.length > 0;
  }

  /** Never rejects: a bug ends the whole. */
  async #follow(follower: Follower): Promise<void> {
    try {
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * PAUSE_GROWTH)) {
        const before = follower.acknowledgement;
        await follower.look();
        if (isNews(before, follower.acknowledgement))
          this.#onProgress(this.#each(({ acknowledgement }) => acknowledgement));
        if (follower.isOver) return;
        await pause(this.#options.clock, pauseMs, this.#stop);
      }
    } catch (error) {
      if (!this.#stop.aborted) this.#enough.abort(error);
    }
  }

  readonly #ask = <Type extends RequestType>(
    endpoint: Endpoint,
    question: Question<Type>,
  ): Promise<Outcome<Type>> =>
    this.#turns.take(() =>
      tryToAsk(endpoint, question, {
        timeoutMs: ANSWER_MS,
        clock: this.#options.clock,
        signal: this.#stop,
      }),
    );
}

/** Who has one of these secrets, or its value by another ref. */
function askedFor(secrets: readonly SecretInUse[], key: Buffer): Question<"acknowledge"> {
  const values = secrets.flatMap(({ fingerprint }) => (fingerprint === undefined ? [] : [fingerprint]));
  return {
    type: "acknowledge",
    ...questionOf(secrets),
    ...(values.length > 0 && { values }),
    key: key.toString("base64url"),
  };
}

function isNews(before: Acknowledgement | undefined, after: Acknowledgement | undefined): boolean {
  return before?.state !== after?.state || before?.reason !== after?.reason;
}

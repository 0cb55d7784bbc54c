/**
 * A rotation's new value, tried where it will serve: the supervisor fetches the candidate by itself, with the
 * credentials of its own profile, and starts one server with it beside its own. Whoever asks hears how it went, and
 * nothing else. Any process of the same user can ask: so it is one at a time, seldom, bounded, and only what a rotation
 * has put beside a secret that is in use here is ever tried.
 */
import type { Timer } from "../../clock.ts";
import type { Request } from "../../control/protocol.ts";
import { type AnswerBody, BusyError } from "../../control/server.ts";
import { McpRunError } from "../../errors.ts";
import { inTime } from "../../secrets/in-time.ts";
import type { SecretSpec } from "../../secrets/spec.ts";
import { canaryOf, whyAlone } from "../start/trial-server.ts";
import { type AskedSecret, aboutCandidate, fetchCandidates } from "./candidates.ts";
import type { Supervised } from "./supervisor-status.ts";

/** Ms from the beginning of one to that of the next. */
const LEAST_MS = 10_000;
/** Ms for all of it; whoever asks waits somewhat longer. */
const LONGEST_MS = 85_000;
const MOST_DETAILS = 8;

export class CandidateCanary {
  readonly #supervised: Supervised;
  readonly #ending = new AbortController();
  #lastAt = Number.NEGATIVE_INFINITY;
  #underWay: Promise<unknown> | undefined;

  constructor(supervised: Supervised) {
    this.#supervised = supervised;
  }

  /** Rejects with McpRunError if nothing could be tried; with the signal's reason once the server has gone. */
  async try(request: Request<"canary">, signal: AbortSignal): Promise<AnswerBody<"canary">> {
    const { context, profile, mode } = this.#supervised;
    const { clock } = context;
    if (mode === "exec") throw refusal(profile.name, "a program of exec is no server", "another supervisor");
    const alone = whyAlone(profile);
    if (alone !== undefined) throw refusal(profile.name, alone, "`restart: overlap`, if it can run twice");
    if (this.#ending.signal.aborted) throw refusal(profile.name, "it is ending", "another supervisor");
    const secrets = this.#asked(request);
    const waitMs = this.#lastAt + LEAST_MS - clock.monotonic();
    if (this.#underWay || waitMs > 0) {
      const state = this.#underWay ? "it tries another one" : "it has only just tried another one";
      throw new BusyError(`Cannot try a candidate in ${profile.name}: ${state}`, "again in 10 s");
    }
    this.#lastAt = clock.monotonic();
    const work = this.#within(signal, (either) => this.#run(request.rotation, secrets, either));
    this.#underWay = work.catch(() => undefined);
    try {
      return await work;
    } finally {
      this.#underWay = undefined;
    }
  }

  /** No further one, and that which is under way is ended. */
  stop(): void {
    this.#ending.abort(refusal(this.#supervised.profile.name, "it is ending", "another supervisor"));
  }

  /** Resolves when nothing of it is left. */
  async close(): Promise<void> {
    this.stop();
    await this.#underWay;
  }

  async #within<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { context, profile } = this.#supervised;
    const late = new AbortController();
    const timer: Timer = context.clock.after(
      LONGEST_MS,
      () =>
        late.abort(refusal(profile.name, `it was not done within ${LONGEST_MS / 1000} s`, "check --start")),
      { background: true },
    );
    try {
      return await work(AbortSignal.any([signal, this.#ending.signal, late.signal]));
    } finally {
      timer.cancel();
    }
  }

  async #run(
    rotation: string,
    secrets: readonly AskedSecret[],
    signal: AbortSignal,
  ): Promise<AnswerBody<"canary">> {
    const { context, profile, inUse, needles } = this.#supervised;
    const limit = { clock: context.clock, limitMs: profile.fetchTimeoutMs, signal };
    const values = await inTime(limit, (either) =>
      fetchCandidates(this.#supervised, rotation, secrets, either),
    ).catch((error: unknown) => {
      signal.throwIfAborted();
      throw aboutCandidate(rotation, error);
    });
    const ofTrial = { needles, ranBy: "", inUse: (given: typeof values) => inUse.ofTrial(given) };
    const { works, wasProbed, reason, details } = await canaryOf(context, profile, ofTrial).try(
      values,
      signal,
    );
    return {
      works,
      wasProbed,
      ...(reason !== undefined && { reason }),
      ...(details && { details: details.slice(0, MOST_DETAILS) }),
    };
  }

  /** The secrets of the profile that these refs mean. */
  #asked({ refs }: Request<"canary">): readonly AskedSecret[] {
    const { profile, inUse } = this.#supervised;
    const served = new Set(inUse.served.map(({ from }) => from));
    const asked = profile.secrets.flatMap(({ name, source }: SecretSpec) => {
      const isMeant = source.type === "ref" && refs.includes(source.ref.text) && served.has(source.ref.text);
      return isMeant ? [{ name, ref: source.ref }] : [];
    });
    const strange = refs.find((text) => !asked.some(({ ref }) => ref.text === text));
    if (strange === undefined && asked.length > 0) return asked;
    const state = strange === undefined ? "no secret is named" : `it does not use ${strange}`;
    throw refusal(profile.name, state, "a supervisor that does");
  }
}

function refusal(profile: string, state: string, hint: string): McpRunError {
  return new McpRunError("usage", `Cannot try a candidate in ${profile}: ${state}`, { hint });
}

/**
 * Holds the client's new requests while a rotation revokes the key that the server has, so that none of them meets
 * it. Any process of the same user can ask for that: so a message is believed only where that very rotation has put a
 * candidate beside a secret in use, which is looked at seldom; and it is once for each rotation, and soon over.
 *
 *   asked -> holds ... until a server has other values, the candidates are gone without a promotion, the session
 *         |            ends, or the time is over; then what waits goes to the server that is there
 *         -> does not, and says why
 */
import { pause, type Timer, untilAborted } from "../../clock.ts";
import type { Request, SupervisorStatus } from "../../control/protocol.ts";
import { type AnswerBody, BusyError } from "../../control/server.ts";
import { ProviderError } from "../../errors.ts";
import type { Withheld } from "../../launch/serving.ts";
import { inTime } from "../../secrets/in-time.ts";
import { parseRef } from "../../secrets/ref.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { AskedLooks } from "./asked-looks.ts";
import { type AskedSecret, aboutCandidate, fetchCandidates } from "./candidates.ts";
import { namedIn } from "./meant-secrets.ts";
import type { Supervised } from "./supervisor-status.ts";

/** Ms for all of it: many clients give up a request after a minute, and a server needs some time, too. */
const LONGEST_MS = 45_000;
/** Ms from one look for candidates that somebody has asked for to the next. */
const LEAST_MS = 10_000;
/** Ms for that look: an old key is abused while it is waited for. */
const FETCH_MS = 8_000;
/** Ms for which the answer waits for requests that are under way, which need the old key. */
const SETTLE_MS = 2_000;
const SETTLE_STEP_MS = 20;
const ENDING = "it is ending";
/** Ms between two looks whether the candidates are still there. */
const LOOK_MS = 3_000;

/** The candidates of a rotation are being looked for. */
interface Asking {
  readonly rotation: string;
  readonly answer: Promise<AnswerBody<"hold">>;
  /** Aborted when nobody waits for the answer any more. */
  readonly over: AbortController;
  waiting: number;
}

interface Hold {
  readonly rotation: string;
  readonly secrets: readonly AskedSecret[];
  /** What the server had, by name. */
  readonly before: ReadonlyMap<string, Secret>;
  readonly withheld: Withheld;
  /** Wall-clock ms. */
  readonly since: number;
  readonly forMs: number;
  readonly startedAt: number;
  readonly timer: Timer;
  readonly over: AbortController;
}

export class Holding {
  readonly #supervised: Supervised;
  readonly #looks: Pick<AskedLooks, "ask">;
  readonly #ending = new AbortController();
  /** Rotations that it has held for. */
  readonly #heldFor = new Set<string>();
  #lastAt = Number.NEGATIVE_INFINITY;
  #asking: Asking | undefined;
  #hold: Hold | undefined;

  constructor(supervised: Supervised, looks: Pick<AskedLooks, "ask">) {
    this.#supervised = supervised;
    this.#looks = looks;
    supervised.refreshing.onNews?.(() => this.#endIfChanged());
  }

  get status(): SupervisorStatus["holding"] {
    if (!this.#hold) return undefined;
    const { rotation, since, forMs } = this.#hold;
    return { rotation, since: iso(since), until: iso(since + forMs) };
  }

  /** Rejects with McpRunError if it can't know whether it should; with the signal's reason once nobody waits for it. */
  async ask(request: Request<"hold">, signal: AbortSignal): Promise<AnswerBody<"hold">> {
    const { context, profile } = this.#supervised;
    const { rotation } = request;
    const secrets = this.#asked(request);
    if (secrets.length === 0) return { accepted: false, holds: false };
    if (this.#hold?.rotation === rotation) return held(this.#hold);
    const no = this.#whyNot(rotation);
    if (no !== undefined) return notHeld(no);
    const { clock } = context;
    // By its socket and over the bus of its fleet.
    if (this.#asking?.rotation === rotation) return this.#wait(this.#asking, signal);
    const isSoon = clock.monotonic() < this.#lastAt + LEAST_MS;
    if (this.#asking || isSoon) {
      const state = "it has only just looked for another candidate";
      throw new BusyError(`Cannot hold requests of ${profile.name}: ${state}`, "again in 10 s");
    }
    this.#lastAt = clock.monotonic();
    const over = new AbortController();
    const answer = this.#answer(request, secrets, over.signal);
    this.#asking = { rotation, answer, over, waiting: 0 };
    return this.#wait(this.#asking, signal);
  }

  /** One that gives up keeps nobody else from the answer. */
  async #wait(asking: Asking, signal: AbortSignal): Promise<AnswerBody<"hold">> {
    asking.waiting++;
    try {
      return await untilAborted(signal, asking.answer);
    } finally {
      if (--asking.waiting === 0) {
        asking.over.abort(new Error("nobody waits for it"));
        if (this.#asking === asking) this.#asking = undefined;
      }
    }
  }

  async #answer(
    request: Request<"hold">,
    secrets: readonly AskedSecret[],
    signal: AbortSignal,
  ): Promise<AnswerBody<"hold">> {
    const { rotation } = request;
    const either = AbortSignal.any([signal, this.#ending.signal]);
    try {
      await this.#fetch(rotation, secrets, either);
    } catch (error) {
      if (this.#ending.signal.aborted) return notHeld(ENDING);
      signal.throwIfAborted();
      throw aboutCandidate(rotation, error);
    }
    const hold = this.#begin(request, secrets);
    if (typeof hold === "string") return notHeld(hold);
    await this.#settled(hold);
    return this.#hold === hold ? held(hold) : notHeld("it has let them go already");
  }

  /** The session ends. */
  stop(): void {
    this.#ending.abort(new Error("the session ends"));
    if (this.#hold) this.#end(this.#hold, "the session ends");
  }

  #whyNot(rotation: string): string | undefined {
    const { profile, mode } = this.#supervised;
    const { restart, signal } = profile.refresh;
    if (mode === "exec") return "a program of exec is no server";
    if (restart === "never") return "its server can't be replaced (refresh.restart is never)";
    if (signal) return `its server is told of new values by ${signal}, and none takes its place`;
    if (this.#ending.signal.aborted) return ENDING;
    if (this.#heldFor.has(rotation)) return "it has held them for this rotation, and let them go";
    return this.#hold && `it holds them for ${this.#hold.rotation}`;
  }

  /** Those of its secrets that the message names. */
  #asked(request: Request<"hold">): readonly AskedSecret[] {
    const { profile, inUse } = this.#supervised;
    return inUse.served.flatMap((secret) => {
      if (!namedIn(secret, request)) return [];
      const { name, from } = secret;
      const source = profile.secrets.find((spec) => spec.name === name)?.source;
      const parsed = parseRef(from);
      if (source?.type === "ref") return [{ name, ref: source.ref }];
      return parsed.ok ? [{ name, ref: parsed.ref }] : [];
    });
  }

  async #fetch(rotation: string, secrets: readonly AskedSecret[], signal: AbortSignal): Promise<void> {
    const { context, profile } = this.#supervised;
    const limitMs = Math.min(FETCH_MS, profile.fetchTimeoutMs);
    const work = (either: AbortSignal) => fetchCandidates(this.#supervised, rotation, secrets, either);
    await inTime({ clock: context.clock, limitMs, signal }, work);
  }

  /** Why not, if it can't. */
  #begin({ rotation, forMs: wantedMs }: Request<"hold">, secrets: readonly AskedSecret[]): Hold | string {
    const { context, inUse, control } = this.#supervised;
    const { clock } = context;
    const withheld = control.withhold?.() ?? "it has no server";
    if (typeof withheld === "string") return withheld;
    const forMs = Math.min(wantedMs, LONGEST_MS);
    const hold: Hold = {
      rotation,
      secrets,
      before: new Map(inUse.served.map(({ name, value }) => [name, value])),
      withheld,
      since: clock.now(),
      forMs,
      startedAt: clock.monotonic(),
      timer: clock.after(forMs, () => this.#end(hold, `its ${forMs / 1000} s are over`), {
        background: true,
      }),
      over: new AbortController(),
    };
    this.#hold = hold;
    this.#heldFor.add(rotation);
    this.#tell({ type: "holding", secrets: secrets.map(({ name }) => name), longestMs: forMs }, hold);
    void this.#watch(hold).catch(() => this.#end(hold, "a bug in mcp-run"));
    return hold;
  }

  /** Resolves when nothing is under way any more, or too much. */
  async #settled({ withheld, over }: Hold): Promise<void> {
    const { clock } = this.#supervised.context;
    const latest = clock.monotonic() + SETTLE_MS;
    const isWorthIt = () => withheld.isBusy() && !over.signal.aborted && clock.monotonic() < latest;
    while (isWorthIt()) await pause(clock, SETTLE_STEP_MS, over.signal).catch(() => undefined);
  }

  /** Looks now and then whether the rotation has been taken back. Rejects once it is over. */
  async #watch(hold: Hold): Promise<void> {
    const { clock } = this.#supervised.context;
    do await pause(clock, LOOK_MS, hold.over.signal);
    while (!(await this.#isGone(hold)));
    this.#end(hold, "the candidate is gone, and nothing new has come of it");
  }

  /** Where it is promoted a look finds what is new, and another server takes over. */
  async #isGone(hold: Hold): Promise<boolean> {
    const { context, refreshing } = this.#supervised;
    if (await this.#isThere(hold)) return false;
    const askedAt = context.clock.now();
    await this.#looks.ask();
    const { lastLookAt = Number.NEGATIVE_INFINITY } = refreshing.outlook;
    return lastLookAt >= askedAt && !(await this.#isThere(hold));
  }

  /** Also if it can't be known. */
  async #isThere({ rotation, secrets, over }: Hold): Promise<boolean> {
    try {
      await this.#fetch(rotation, secrets, over.signal);
      return true;
    } catch (error) {
      return !(error instanceof ProviderError) || !["missing", "conflict"].includes(error.failure);
    }
  }

  #endIfChanged(): void {
    const hold = this.#hold;
    if (!hold) return;
    const now = new Map(this.#supervised.inUse.served.map(({ name, value }) => [name, value]));
    const isOther = ({ name }: AskedSecret) => {
      const [before, served] = [hold.before.get(name), now.get(name)];
      return !before || !served?.equals(before);
    };
    if (hold.secrets.every(isOther)) this.#end(hold, "a server with other values serves");
  }

  #end(hold: Hold, reason: string): void {
    if (this.#hold !== hold) return;
    this.#hold = undefined;
    hold.timer.cancel();
    hold.over.abort(new Error(reason));
    hold.withheld.letGo();
    const ms = this.#supervised.context.clock.monotonic() - hold.startedAt;
    this.#tell({ type: "let-go", reason, ms }, hold);
  }

  #tell(
    what:
      | { readonly type: "holding"; readonly secrets: readonly string[]; readonly longestMs: number }
      | { readonly type: "let-go"; readonly reason: string; readonly ms: number },
    { rotation }: Hold,
  ): void {
    const { context, profile, refreshing } = this.#supervised;
    context.printer.emit({ ...what, profile: profile.name, rotation, ...refreshing.server });
  }
}

function held({ since }: Hold): AnswerBody<"hold"> {
  return { accepted: true, holds: true, since: iso(since) };
}

/** @param reason a state */
function notHeld(reason: string): AnswerBody<"hold"> {
  return { accepted: true, holds: false, reason };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

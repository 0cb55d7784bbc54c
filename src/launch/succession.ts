/**
 * One server takes the place of another, under a client that goes on. The new one is told what the client has told
 * the old one, and proven; then, in one tick, what is new goes to it:
 *
 *   replay -> probe -> compare lists -> replay the rest, take over
 *
 * Where anything fails before «take over», nothing has changed for the client. An old server is let go only when it
 * owes nobody anything, or after its time.
 */
import { type Clock, type Timer, untilAborted } from "../clock.ts";
import { changedLists, type ListKind, listChanged } from "../relay/lists.ts";
import { at, messageOf } from "../relay/message.ts";
import { NoAnswerError, type OwnRequestOptions, type ServerLine } from "../relay/own-request.ts";
import { isProgramProbe, type Probe, type ProgramProbe, probeServer } from "../relay/probe.ts";
import { Replay, ReplayError } from "../relay/replay.ts";
import type { Session } from "../relay/session.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { probeByProgram } from "./probe-program.ts";
import type { Running } from "./running.ts";
import { ReplaceError, type Withheld } from "./serving.ts";
import type { Switchboard } from "./switchboard.ts";

/** Ms that a new server may take for each answer before it takes over. */
const ANSWER_MS = 30_000;
/** Ms for the lists, which only say whether the client has to be told something. */
const LIST_MS = 5_000;
/** Ms for which the client's requests are held, to see a server idle; and for which they pass, before the next try. */
const WINDOW_MS = 5_000;

export interface SuccessionOptions {
  readonly session: Session;
  readonly board: Switchboard;
  readonly clock: Clock;
  readonly probe?: Probe | undefined;
  /** Hidden in what the program of a probe says. */
  readonly needles: NeedleSource;
  /** Aborted: no server is to take over any more. */
  readonly stopped: AbortSignal;
}

/** How long an old server may take to finish its work. */
export interface Patience {
  readonly ms: number;
  /** Aborted where it may not take so long after all. */
  readonly cut: AbortSignal;
}

export class Succession {
  readonly #options: SuccessionOptions;
  /** By generation: whoever waits until it is idle. */
  readonly #waiting = new Map<number, () => void>();
  #letGo: () => void = () => undefined;

  constructor(options: SuccessionOptions) {
    this.#options = options;
  }

  /**
   * Makes `next` what the client's server is, and lets it take over. Rejects with ReplaceError; then nothing has
   * changed for the client.
   *
   * @param current the server whose place it takes, if that still runs
   * @param onTakenOver called in the same tick
   */
  async install(next: Running, current: Running | undefined, onTakenOver: () => void): Promise<void> {
    const { board, probe, session, stopped } = this.#options;
    const replay = new Replay(next.line, this.#ownRequests(ANSWER_MS));
    const prepare = async () => {
      await replay.catchUp();
      // A client that has not chosen its way yet comes first.
      if (probe && (isProgramProbe(probe) || session.recall.isIntroduced)) await this.#prove(probe, next);
      const changed = current ? await changedLists(current.line, next.line, this.#ownRequests(LIST_MS)) : [];
      return changed;
    };
    try {
      const changed = await untilAborted(stopped, prepare());
      while (!replay.isComplete) await untilAborted(stopped, replay.catchUp());
      // From here to takeOver nothing may be waited for, or the client could say something in between.
      stopped.throwIfAborted();
      next.line.gone.throwIfAborted();
      board.takeOver(next.number);
      onTakenOver();
      board.tellClient(this.#announce(changed));
    } catch (error) {
      throw this.#asReplaceError(error, next.line);
    } finally {
      replay.end();
    }
  }

  /** Proves that a server works. Rejects with ReplaceError. */
  async prove(running: Running): Promise<void> {
    const { probe, stopped } = this.#options;
    if (!probe) return;
    try {
      await untilAborted(stopped, this.#prove(probe, running));
    } catch (error) {
      throw this.#asReplaceError(error, running.line);
    }
  }

  /** Waits until a server owes nobody anything, as long as it may take; then answers in its place. */
  async drain(running: Running, patience: Patience, reason: string): Promise<void> {
    await this.#idleWithin(running, patience);
    this.#abandon(running, reason);
  }

  /**
   * The same for the current server, with what is new held from the moment at which it is idle. Since a long piece of
   * work would have everything else wait, the client's requests are held only now and then; where an idle moment comes
   * of itself, it is taken. Holds when it resolves, except if the session ends.
   */
  async settle(running: Running, { ms, cut }: Patience, reason: string): Promise<void> {
    const { session, board, clock, stopped } = this.#options;
    const { gone } = running.line;
    const latest = clock.monotonic() + ms;
    const window = () => ({ ms: Math.min(WINDOW_MS, Math.max(0, latest - clock.monotonic())), cut });
    const isOver = () => cut.aborted || clock.monotonic() >= latest;
    const hold = () => session.hold();
    this.#letGo = () => {
      if (!gone.aborted) board.takeOver(running.number);
    };
    hold();
    while (!(await this.#idleWithin(running, window())) && !isOver()) {
      this.#letGo();
      await this.#idleWithin(running, window(), hold);
      if (!stopped.aborted) hold();
    }
    this.#abandon(running, reason);
    this.#letGo = () => undefined;
  }

  /** No server is to take over any more: what is held for one that was to come goes to the one that is there. */
  release(): void {
    this.#letGo();
    this.#letGo = () => undefined;
    this.#options.board.letGo();
  }

  /** What is new waits until it is let go, whichever server takes over meanwhile. */
  withhold(current: Running): Withheld {
    const { session, board } = this.#options;
    session.withhold();
    return { isBusy: () => session.isBusy(current.number), letGo: () => board.letGo() };
  }

  /** To be told when a server owes nobody anything. */
  idle(number: number): void {
    this.#waiting.get(number)?.();
  }

  /** False if it is still busy after that; true also if it has gone, or the session ends. */
  async #idleWithin({ number, line }: Running, { ms, cut }: Patience, onIdle?: () => void): Promise<boolean> {
    const { session, clock, stopped } = this.#options;
    if (!session.isBusy(number)) return true;
    if (cut.aborted) return false;
    const until = AbortSignal.any([stopped, line.gone]);
    let timer: Timer | undefined;
    const idleOrLate = new Promise<boolean>((resolve) => {
      this.#waiting.set(number, () => {
        onIdle?.();
        resolve(true);
      });
      const isLate = () => resolve(false);
      timer = clock.after(ms, isLate);
      cut.addEventListener("abort", isLate, { once: true });
    });
    const isIdle = await untilAborted(until, idleOrLate).catch(() => true);
    timer?.cancel();
    this.#waiting.delete(number);
    return isIdle;
  }

  #abandon({ number, line }: Running, reason: string): void {
    const { session, board, stopped } = this.#options;
    if (!stopped.aborted && !line.gone.aborted) board.tellClient(session.abandon(number, reason));
  }

  async #prove(probe: Probe, running: Running): Promise<void> {
    const wrong = isProgramProbe(probe)
      ? await this.#proveByProgram(probe, running)
      : await probeServer(probe, running.line, this.#ownRequests(ANSWER_MS));
    if (wrong) throw new ReplayError(wrong);
  }

  async #proveByProgram(probe: ProgramProbe, { generation, line }: Running): Promise<string | undefined> {
    const { stopped, needles } = this.#options;
    return probeByProgram(probe, generation.options, needles, AbortSignal.any([stopped, line.gone]));
  }

  /** A bug stays what it is. */
  #asReplaceError(error: unknown, { gone }: ServerLine): unknown {
    if (this.#options.stopped.aborted) return new ReplaceError("the session ends");
    if (gone.aborted && error === gone.reason) return new ReplaceError("it has ended");
    if (error instanceof ReplayError || error instanceof NoAnswerError)
      return new ReplaceError(error.message);
    return error;
  }

  #ownRequests(timeoutMs: number): OwnRequestOptions {
    const { session, clock } = this.#options;
    return { session, clock, timeoutMs };
  }

  #announce(kinds: readonly ListKind[]): readonly Buffer[] {
    const { recall } = this.#options.session;
    if (recall.era !== "modern") return kinds.flatMap((kind) => listChanged(kind, "legacy"));
    const listens = recall.openListens.map(({ id, line }) => ({ id, kinds: kindsOf(line) }));
    return kinds.flatMap((kind) => listChanged(kind, listens));
  }
}

/** Which lists a `subscriptions/listen` asks to be told of. MCP 2026-07-28, subscriptions. */
function kindsOf(listen: Buffer): readonly ListKind[] {
  const notifications = at(messageOf(listen), "params", "notifications");
  return (["tools", "resources", "prompts"] as const).filter(
    (kind) => at(notifications, `${kind}ListChanged`) === true,
  );
}

/**
 * One server takes the place of another, under a client that goes on. The new one is started, told what the
 * client has told the old one, and proven; then, in one tick, what is new goes to it.
 *
 *   overlap:     start next -> replay -> probe -> compare lists -> replay the rest, take over -> old drains -> stop
 *   sequential:  hold -> current drains -> stop -> start next -> replay -> probe -> take over, with what was held
 *
 * Where anything fails before «take over», overlap leaves the current server as it was.
 */
import { type Clock, type Timer, untilAborted } from "../clock.ts";
import { changedLists, type ListKind, listChanged } from "../relay/lists.ts";
import { at, messageOf } from "../relay/message.ts";
import type { OwnRequestOptions } from "../relay/own-request.ts";
import { type Probe, probeServer } from "../relay/probe.ts";
import { Replay, ReplayError } from "../relay/replay.ts";
import type { Session } from "../relay/session.ts";
import type { Running } from "./running.ts";
import type { Switchboard } from "./switchboard.ts";

/** Ms that a new server may take for each answer before it takes over. */
const ANSWER_MS = 30_000;
/** Ms for the lists, which only say whether the client has to be told something. */
const LIST_MS = 5_000;

export interface SuccessionOptions {
  readonly session: Session;
  readonly board: Switchboard;
  readonly clock: Clock;
  readonly probe?: Probe | undefined;
  /** Aborted: no server is to take over any more. */
  readonly stopped: AbortSignal;
}

export class Succession {
  readonly #options: SuccessionOptions;
  readonly #waiting = new Map<number, () => void>();

  constructor(options: SuccessionOptions) {
    this.#options = options;
  }

  /**
   * Makes `next` what the client's server is, and lets it take over. Rejects with ReplayError or NoAnswerError, or
   * with the reason why the server went; then nothing has changed for the client.
   *
   * @param current the server whose place it takes, if that still runs
   */
  async install(next: Running, current: Running | undefined, onTakenOver: () => void): Promise<void> {
    const { board, probe, stopped } = this.#options;
    const replay = new Replay(next.line, this.#ownRequests(ANSWER_MS));
    try {
      await replay.catchUp();
      const wrong = probe && (await probeServer(probe, next.line, this.#ownRequests(ANSWER_MS)));
      if (wrong) throw new ReplayError(wrong);
      const changed = current ? await changedLists(current.line, next.line, this.#ownRequests(LIST_MS)) : [];
      // From here to takeOver nothing may be waited for, or the client could say something in between.
      while (!replay.isComplete) await replay.catchUp();
      stopped.throwIfAborted();
      if (next.line.gone.aborted) throw next.line.gone.reason;
      board.takeOver(next.number);
      onTakenOver();
      board.tellClient(this.#announce(changed));
    } finally {
      replay.end();
    }
  }

  /** Waits until a server owes nobody anything, at most `ms`; then answers in its place. */
  async drain({ number, line }: Running, ms: number, reason: string): Promise<void> {
    const { session, board, clock, stopped } = this.#options;
    if (session.isBusy(number)) {
      const until = AbortSignal.any([stopped, line.gone]);
      let timer: Timer | undefined;
      const idleOrLate = new Promise<void>((resolve) => {
        this.#waiting.set(number, resolve);
        timer = clock.after(ms, resolve);
      });
      await untilAborted(until, idleOrLate).catch(() => undefined);
      timer?.cancel();
      this.#waiting.delete(number);
    }
    if (!stopped.aborted && !line.gone.aborted) board.tellClient(session.abandon(number, reason));
  }

  /** To be told when a server owes nobody anything. */
  idle(number: number): void {
    this.#waiting.get(number)?.();
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

/**
 * Serves one MCP client for as long as it is there: fetches, starts the server, and has another take its place
 * when its secrets changed or it died. It owns the client's streams and the watchdog; a generation owns one server,
 * the switchboard the lines, the succession the change of servers.
 *
 *   fetching -> starting -> serving <-> swapping
 *                             |  ^         |
 *                             v  |         v        (asked to stop, or ended and not to be restarted)
 *                         backing-off -> stopping -> stopped
 *
 * | state       | signal                       | end of stdin, reader gone        | the current server ends          |
 * | ----------- | ---------------------------- | -------------------------------- | -------------------------------- |
 * | fetching    | given up: InterruptedError   | -                                | -                                |
 * | starting    | likewise                     | -                                | -                                |
 * | serving     | to every server's stop policy| to every server's stop policy    | backing-off, or stopped          |
 * | swapping    | likewise; nobody takes over  | likewise; nobody takes over      | the next one takes over, or both |
 * | backing-off | stopped                      | stopped                          | -                                |
 * | stopping    | to every server's stop policy| -                                | last bytes: stopped              |
 */
import type { Readable, Writable } from "node:stream";
import { type Clock, type Timer, untilAborted } from "../clock.ts";
import { InterruptedError, McpRunError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { errorResponse, METHOD_NOT_FOUND } from "../relay/error-response.ts";
import type { ClientRequest } from "../relay/ledger.ts";
import type { LineSink } from "../relay/line-sink.ts";
import type { Probe } from "../relay/probe.ts";
import { Session } from "../relay/session.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { type ExitStatus, exitCodeOf } from "./exit-status.ts";
import { type Generation, startGeneration } from "./generation.ts";
import { RestartPolicy } from "./restart-policy.ts";
import type { Running } from "./running.ts";
import type { LaunchPlan } from "./spawn.ts";
import { STOP_TIMES } from "./stopping.ts";
import { Succession } from "./succession.ts";
import { type LeakPolicy, Switchboard } from "./switchboard.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/** Ms that the last bytes may take after the server has gone: a client that does not read can't hold us. */
export const LAST_BYTES_MS = 5000;
/** Ms that a request waits for a server, while there is none. */
const HELD_MS = 10_000;
/** Ms between two looks at the requests that wait. */
const LOOK_AT_HELD_MS = 500;

type SupervisorState =
  | "fetching"
  | "starting"
  | "serving"
  | "swapping"
  | "backing-off"
  | "stopping"
  | "stopped";

/** Why a server is to be started; whoever prepares it need not fetch its secrets anew for a `restart`. */
export type StartReason = "first" | "restart";

export interface ServeOptions {
  /** Puts together what to start, its secrets fetched; rejects with the signal's reason when it is aborted. */
  readonly prepare: (signal: AbortSignal, reason: StartReason) => Promise<LaunchPlan>;
  /** What the client says. Afterwards it is paused, and what was not read is still in it. */
  readonly stdin: Readable;
  /** To the client. Never ended here. */
  readonly stdout: LineSink;
  /** Never ended here. */
  readonly stderr: Writable;
  /** What to hide on stderr; may grow while the server runs. */
  readonly needles: NeedleSource;
  /** Bytes of a line, its newline included. */
  readonly maxLineBytes: number;
  /** Ms from TERM to KILL. */
  readonly stopGraceMs: number;
  /** Whether a server that ended by itself is started again, once a client has had an answer. */
  readonly onCrash?: "restart" | "exit";
  /** How another server takes the place of the first, and how long (ms) that may finish its work. */
  readonly swap?: { readonly mode: "overlap" | "sequential"; readonly drainMs: number };
  readonly probe?: Probe | undefined;
  /** What becomes of a secret that the server tells the client. */
  readonly leaks?: LeakPolicy | undefined;
  readonly platform: NodeJS.Platform;
  readonly uid: number | undefined;
  /** For small private files of ours: Paths.run. */
  readonly runFolder: string;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Calls back at each INT, TERM, HUP or QUIT; ends with the returned function. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  /** The first server runs. What is returned is called when no server is to be replaced any more. */
  readonly onStarted?: (pid: number, replace: Replace) => (() => void) | undefined;
  /** Another server has taken over. */
  readonly onReplaced?: (pid: number, generation: number) => void;
}

/**
 * Has a server with this plan take the place of the current one. Resolves once it has; rejects with the reason if
 * the current one goes on. One after the other: while a server drains, the next change waits.
 */
export type Replace = (plan: LaunchPlan) => Promise<void>;

export interface Served {
  readonly status: ExitStatus;
  /** The exit code that mcp-run owes its caller. */
  readonly exitCode: number;
  /** False if a signal, the end of the client's input or the loss of its ear had been told before. */
  readonly endedByItself: boolean;
  /** False if the server died before its first answer. */
  readonly hasAnswered: boolean;
  /** Then: what the client has asked, for the caller to answer. */
  readonly unanswered: readonly ClientRequest[];
  /** Bytes of a last line of the server without a newline; they were dropped. */
  readonly tornBytes: number;
  /** False if stdout or stderr was not read in time. Then only the end of our process frees these streams. */
  readonly flushed: boolean;
}

/**
 * Runs servers for one client until the last and all that came of it have gone and every byte is written.
 * Throws McpRunError if the first could not be prepared or started, InterruptedError if a signal came before.
 */
export function serve(options: ServeOptions): Promise<Served> {
  return new Supervisor(options).run();
}

/** Why a server did not get the place of another; a state. */
export class ReplaceError extends Error {
  override readonly name = "ReplaceError";
}

/** What comes after a server. */
type Sequel =
  | { readonly type: "none" }
  | { readonly type: "restart" }
  | { readonly type: "retry-after-probe" }
  | { readonly type: "end"; readonly endedByItself: boolean; unanswered?: readonly ClientRequest[] };

const RESTARTED = "server restarted";

type Ending = Pick<Served, "status" | "endedByItself" | "unanswered" | "tornBytes" | "flushed">;

class Supervisor {
  readonly #options: ServeOptions;
  readonly #session: Session;
  readonly #board: Switchboard;
  readonly #succession: Succession;
  readonly #policy = new RestartPolicy();
  readonly #living = new Set<Running>();
  /** Aborted: a signal came, the client has gone, or nothing more is to be started. */
  readonly #stopped = new AbortController();
  readonly #ended: Promise<Ending>;
  #end: (ending: Ending) => void = () => undefined;
  #state: SupervisorState = "fetching";
  #count = 0;
  #current: Running | undefined;
  #watchdog: Watchdog | undefined;
  #lastChange: Promise<void> = Promise.resolve();
  #hasRetriedProbe = false;

  constructor(options: ServeOptions) {
    const { stdin, stdout, stderr, needles, maxLineBytes, leaks, clock, probe } = options;
    this.#options = options;
    this.#session = new Session({ onIdle: (number) => this.#idle(number), now: () => clock.monotonic() });
    const session = this.#session;
    const warn = (message: string) => this.#warn(message);
    const onReaderGone = () => this.#tellAll({ type: "reader-gone" });
    this.#board = new Switchboard({
      session,
      stdin,
      stdout,
      stderr,
      needles,
      maxLineBytes,
      leaks,
      warn,
      onReaderGone,
    });
    const stopped = this.#stopped.signal;
    this.#succession = new Succession({ session, board: this.#board, clock, probe, stopped });
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async run(): Promise<Served> {
    const stopListening = this.#options.onSignal((signal) => this.#signalled(signal));
    try {
      const plan = await this.#fetch();
      this.#watchdog = this.#startWatchdog();
      try {
        this.#state = "starting";
        return await this.#serve(await this.#start(plan));
      } finally {
        this.#watchdog.dismiss();
      }
    } finally {
      stopListening();
    }
  }

  async #fetch(): Promise<LaunchPlan> {
    const { signal } = this.#stopped;
    const plan = await this.#options.prepare(signal, "first");
    if (signal.aborted) {
      await plan.release?.();
      throw signal.reason;
    }
    return plan;
  }

  #startWatchdog(): Watchdog {
    const { platform } = this.#options;
    const message = "no watchdog: if mcp-run itself is killed with SIGKILL, the server may live on";
    return startWatchdog({ platform, onMissing: () => this.#warn(message) });
  }

  async #serve(first: Running): Promise<Served> {
    const { onStarted, stdout } = this.#options;
    this.#current = first;
    this.#state = "serving";
    this.#board.takeOver(first.number);
    const stopChanging = onStarted?.(first.generation.pid, (plan) => this.#replace(plan));
    const fromClient = this.#readClient();
    const { endedByItself, ...ending } = await this.#ended;
    stopChanging?.();
    this.#state = "stopped";
    this.#board.stopReading();
    await fromClient;
    for (const { generation } of this.#living) generation.tell({ type: "signal", signal: "SIGTERM" });
    await Promise.all([...this.#living].map(({ ended }) => ended));
    const flushed = ending.flushed && (stdout.isFlushed || stdout.isClosed);
    const { hasAnswered } = this.#session;
    return { ...ending, exitCode: exitCodeOf(ending.status), endedByItself, hasAnswered, flushed };
  }

  async #readClient(): Promise<void> {
    const { stdin } = this.#options;
    // Not only when all has been handed over: a server that hangs may never read it.
    const ended = () => this.#clientEnded();
    stdin.once("end", ended);
    const end = await this.#board.readClient();
    stdin.off("end", ended);
    if (end.type !== "source-ended") return;
    if (end.tornBytes > 0)
      this.#warn(`the client's last line had no end: ${end.tornBytes} bytes were dropped`);
    ended();
  }

  /** Throws as startGeneration does. */
  async #start(plan: LaunchPlan): Promise<Running> {
    const { platform, uid, clock, runFolder, stopGraceMs } = this.#options;
    const watchdog = this.#watchdog;
    if (!watchdog) throw new Error("a server needs a watchdog");
    const times = { ...STOP_TIMES, graceMs: stopGraceMs };
    const generation = await startGeneration({ plan, times, platform, uid, clock, watchdog, runFolder });
    const number = ++this.#count;
    this.#session.begin(number);
    const line = this.#board.attach(number, generation);
    const ended = generation.ended.then((status) => this.#serverEnded(running, status));
    const running: Running = {
      number,
      generation,
      line,
      startedAt: clock.monotonic(),
      isDismissed: false,
      ended,
    };
    this.#living.add(running);
    return running;
  }

  async #serverEnded(running: Running, status: ExitStatus): Promise<ExitStatus> {
    const isCurrent = running === this.#current;
    const timer = this.#options.clock.after(LAST_BYTES_MS, () => this.#board.cut(running.number));
    let sequel: Sequel = { type: "none" };
    const { tornBytes, flushed } = await this.#board.detach(running.number, () => {
      sequel = isCurrent ? this.#sequelOf(running) : { type: "none" };
      return this.#owed(running, sequel);
    });
    timer.cancel();
    this.#living.delete(running);
    if (tornBytes > 0) this.#warn(`the server's last line had no end: ${tornBytes} bytes were dropped`);
    if (!isCurrent) return status;
    this.#current = undefined;
    await this.#follow(sequel, running, { status, tornBytes, flushed });
    return status;
  }

  /** What comes after the current server, now that it has said its last word. */
  #sequelOf(running: Running): Sequel {
    if (this.#stopped.signal.aborted) return { type: "end", endedByItself: false };
    // A change of servers is under way that goes on without it.
    if (running.isDismissed || this.#state === "swapping") return { type: "none" };
    const { hasAnswered } = this.#session;
    const asked = this.#session.unanswered(running.number);
    const onlyProbe = asked.length === 1 && asked[0]?.method === "server/discover";
    if (!hasAnswered && onlyProbe && !this.#hasRetriedProbe) return { type: "retry-after-probe" };
    if (!hasAnswered || this.#options.onCrash !== "restart") return { type: "end", endedByItself: true };
    return { type: "restart" };
  }

  /** The lines that the client is owed for a server that has gone. */
  #owed({ number }: Running, sequel: Sequel): readonly Buffer[] {
    const session = this.#session;
    if (sequel.type === "retry-after-probe") {
      const answers = session
        .takeUnanswered(number)
        .map(({ id }) => errorResponse(id, "Method not found", METHOD_NOT_FOUND));
      return [...answers, ...session.over(number, RESTARTED)];
    }
    if (sequel.type === "end") {
      if (session.hasAnswered) {
        const ended = "the server has ended";
        return [...session.over(number, ended), ...session.refuseHeld(ended)];
      }
      sequel.unanswered = [...session.takeUnanswered(number), ...session.takeHeld()];
      return session.over(number, RESTARTED);
    }
    return session.over(number, `server restarted, generation ${this.#count + 1}`);
  }

  async #follow(
    sequel: Sequel,
    running: Running,
    ending: Pick<Ending, "status" | "tornBytes" | "flushed">,
  ): Promise<void> {
    switch (sequel.type) {
      case "none":
        return;
      case "end":
        this.#end({ ...ending, endedByItself: sequel.endedByItself, unanswered: sequel.unanswered ?? [] });
        return;
      case "retry-after-probe":
        this.#hasRetriedProbe = true;
        this.#warn("the server ended at the probe of a newer client, and is started again for an older one");
        void this.#comeBack(ending, 0);
        return;
      case "restart": {
        const livedMs = this.#options.clock.monotonic() - running.startedAt;
        const delayMs = this.#policy.died(livedMs, true) ?? 0;
        void this.#comeBack(ending, delayMs);
      }
    }
  }

  /** Starts a server in the place of one that has gone, until one takes over or the policy gives up. Never rejects. */
  async #comeBack(
    last: Pick<Ending, "status" | "tornBytes" | "flushed">,
    firstDelayMs: number,
  ): Promise<void> {
    const { clock, prepare } = this.#options;
    const { signal } = this.#stopped;
    let delayMs: number | undefined = firstDelayMs;
    let ending = last;
    this.#state = "backing-off";
    const stopWatching = this.#watchHeld();
    while (delayMs !== undefined) {
      const [wait, number]: [number, number] = [delayMs, this.#count + 1];
      if (wait > 0)
        this.#warn(
          `the server ended (${describe(ending.status)}); generation ${number} starts in ${wait} ms`,
        );
      try {
        await untilAborted(signal, new Promise<void>((resolve) => clock.after(wait, resolve)));
        const next = await this.#start(await prepare(signal, "restart"));
        const installed = await this.#install(next, undefined);
        if (installed === undefined) break;
        ending = { ...ending, status: await next.ended };
        this.#warn(`generation ${number} could not take over: ${installed}`);
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof McpRunError)) throw error;
        this.#warn(`generation ${number} could not be started: ${error.message}`);
      }
      delayMs = this.#policy.died(0, false);
    }
    stopWatching();
    if (this.#current) return;
    this.#board.tellClient(this.#session.refuseHeld("the server has ended"));
    this.#end({ ...ending, endedByItself: !signal.aborted, unanswered: [] });
  }

  /** Undefined once it has taken over; else why not, and it is being stopped. */
  async #install(next: Running, current: Running | undefined): Promise<string | undefined> {
    try {
      await this.#succession.install(next, current, () => {
        this.#current = next;
        this.#state = "serving";
      });
    } catch (error) {
      next.isDismissed = true;
      next.generation.tell({ type: "signal", signal: "SIGTERM" });
      return error instanceof Error ? error.message : "it was stopped";
    }
    this.#policy.cameUp();
    this.#options.onReplaced?.(next.generation.pid, next.number);
    return undefined;
  }

  async #replace(plan: LaunchPlan): Promise<void> {
    const before = this.#lastChange;
    let done: () => void = () => undefined;
    this.#lastChange = new Promise((resolve) => {
      done = resolve;
    });
    await before;
    try {
      const old = await this.#change(plan);
      void this.#retire(old).finally(done);
    } catch (error) {
      done();
      throw error;
    }
  }

  /** Resolves with the server that has lost its place, if it still runs. */
  async #change(plan: LaunchPlan): Promise<Running | undefined> {
    const { swap } = this.#options;
    const old = this.#current;
    if (!old || !swap || this.#stopped.signal.aborted || !this.#session.recall.isIntroduced) {
      await plan.release?.();
      throw new ReplaceError(old ? "the client has not introduced itself yet" : "no server runs now");
    }
    this.#state = "swapping";
    if (swap.mode === "sequential") await this.#clearThePlace(old, swap.drainMs);
    const failure = await this.#startAndInstall(plan, swap.mode === "overlap" ? old : undefined);
    if (failure === undefined) return swap.mode === "overlap" ? old : undefined;
    // Without a server the next start is for whoever comes: secrets and all are put together anew.
    if (this.#current) this.#state = "serving";
    else void this.#comeBack({ status: { type: "exited", code: 1 }, tornBytes: 0, flushed: true }, 0);
    throw new ReplaceError(failure);
  }

  async #startAndInstall(plan: LaunchPlan, current: Running | undefined): Promise<string | undefined> {
    try {
      return await this.#install(await this.#start(plan), current);
    } catch (error) {
      if (error instanceof McpRunError) return error.message;
      throw error;
    }
  }

  /** A server that can't run twice: it finishes and goes before the next is started, and what is new waits. */
  async #clearThePlace(old: Running, drainMs: number): Promise<void> {
    this.#session.hold();
    old.isDismissed = true;
    await this.#succession.drain(old, drainMs, RESTARTED);
    old.generation.tell({ type: "stdin-ended", unanswered: 0 });
    await old.ended;
  }

  /** Lets a server that has lost its place finish its work, and stops it. */
  async #retire(old: Running | undefined): Promise<void> {
    const { swap } = this.#options;
    if (!old || !swap) return;
    old.isDismissed = true;
    await this.#succession.drain(old, swap.drainMs, RESTARTED);
    old.generation.tell({ type: "stdin-ended", unanswered: 0 });
    await old.ended;
  }

  /** Answers requests that have waited too long for a server; what is returned ends it. */
  #watchHeld(): () => void {
    const { clock } = this.#options;
    let timer: Timer | undefined;
    const look = () => {
      const since = clock.monotonic() - HELD_MS;
      this.#board.tellClient(this.#session.refuseHeld("the server is being restarted", since));
      timer = clock.after(LOOK_AT_HELD_MS, look);
    };
    look();
    return () => timer?.cancel();
  }

  #idle(number: number): void {
    this.#succession.idle(number);
    for (const running of this.#living)
      if (running.number === number) running.generation.tell({ type: "idle" });
  }

  #signalled(signal: NodeJS.Signals): void {
    const error = new InterruptedError(signal);
    if (this.#state === "stopped") this.#board.cut();
    else if (this.#state === "fetching" || this.#state === "starting") this.#stopped.abort(error);
    else this.#stop(error, () => ({ type: "signal", signal }));
  }

  #clientEnded(): void {
    const event = ({ number }: Running) =>
      ({ type: "stdin-ended", unanswered: this.#session.unanswered(number).length }) as const;
    this.#stop(new Error("the client has gone"), event);
  }

  /** Nothing is started any more, and every server is told. */
  #stop(reason: Error, event: (running: Running) => Parameters<Generation["tell"]>[0]): void {
    if (this.#state === "serving" || this.#state === "swapping") this.#state = "stopping";
    this.#stopped.abort(reason);
    for (const running of this.#living) running.generation.tell(event(running));
  }

  #tellAll(event: Parameters<Generation["tell"]>[0]): void {
    this.#stop(new Error("the client has gone"), () => event);
  }

  #warn(message: string): void {
    this.#options.emit({ type: "warning", message });
  }
}

function describe(status: ExitStatus): string {
  return status.type === "exited" ? `exit code ${status.code}` : status.signal;
}

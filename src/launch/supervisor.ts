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
import { pause, type Timer } from "../clock.ts";
import { InterruptedError, McpRunError } from "../errors.ts";
import type { ClientRequest } from "../relay/ledger.ts";
import { Session } from "../relay/session.ts";
import { type ExitStatus, exitCodeOf, wordsFor } from "./exit-status.ts";
import { type Generation, startGeneration } from "./generation.ts";
import { RestartPolicy } from "./restart-policy.ts";
import type { Running } from "./running.ts";
import { type Circumstances, debtsOf, type Sequel, sequelOf } from "./sequel.ts";
import { ReplaceError, type Served, type ServeOptions } from "./serving.ts";
import type { LaunchPlan } from "./spawn.ts";
import { STOP_TIMES } from "./stopping.ts";
import { Succession } from "./succession.ts";
import { Switchboard } from "./switchboard.ts";
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

/**
 * Runs servers for one client until the last and all that came of it have gone and every byte is written.
 * Throws McpRunError if the first could not be prepared or started, InterruptedError if a signal came before.
 */
export function serve(options: ServeOptions): Promise<Served> {
  return new Supervisor(options).run();
}

const RESTARTED = "server restarted";

/** What a server leaves behind. */
type LastWords = Pick<Served, "status" | "unanswered" | "tornBytes" | "flushed">;
type Ending = LastWords & Pick<Served, "endedByItself">;

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
  #hasRetried = false;

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
    const stopChanging = onStarted?.(first.generation.pid, {
      ready: () => this.#lastChange,
      replace: (plan) => this.#replace(plan),
      signal: () => Promise.reject(new ReplaceError("not yet")),
    });
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
    const { number } = running;
    const isCurrent = running === this.#current;
    const timer = this.#options.clock.after(LAST_BYTES_MS, () => this.#board.cut(number));
    let sequel: Sequel = { type: "none" };
    let unanswered: readonly ClientRequest[] = [];
    const { tornBytes, flushed } = await this.#board.detach(number, () => {
      if (isCurrent) sequel = sequelOf(this.#session, number, this.#circumstances(running));
      const debts = debtsOf(this.#session, number, sequel, this.#count + 1);
      unanswered = debts.unanswered;
      return debts.lines;
    });
    timer.cancel();
    this.#living.delete(running);
    if (tornBytes > 0) this.#warn(`the server's last line had no end: ${tornBytes} bytes were dropped`);
    if (!isCurrent) return status;
    this.#current = undefined;
    this.#follow(sequel, running, { status, tornBytes, flushed, unanswered });
    return status;
  }

  #circumstances({ isDismissed }: Running): Circumstances {
    return {
      isStopped: this.#stopped.signal.aborted,
      isBeingReplaced: isDismissed || this.#state === "swapping",
      mayRestart: this.#options.onCrash === "restart",
      mayRetry: !this.#hasRetried,
    };
  }

  #follow(sequel: Sequel, { startedAt }: Running, last: LastWords): void {
    if (sequel.type === "end") this.#end({ ...last, endedByItself: sequel.endedByItself });
    if (sequel.type === "retry") {
      this.#hasRetried = true;
      this.#warn("the server ended at the probe of a newer client, and is started again for an older one");
      void this.#comeBack(last, 0);
    }
    if (sequel.type === "restart") {
      const livedMs = this.#options.clock.monotonic() - startedAt;
      void this.#comeBack(last, this.#policy.died(livedMs, true) ?? 0);
    }
  }

  /** Starts a server in the place of one that has gone, until one takes over or the policy gives up. Never rejects. */
  async #comeBack(last: LastWords, firstDelayMs: number): Promise<void> {
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
          `the server ended (${wordsFor(ending.status)}); generation ${number} starts in ${wait} ms`,
        );
      try {
        await pause(clock, wait, signal);
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
    this.#end({ ...ending, endedByItself: !signal.aborted });
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
    this.#options.onReplaced?.(next.generation.pid, next.number, current ? "replaced" : "restarted");
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
    if (swap.mode === "sequential") {
      // It can't run twice: what is new waits until the old one has gone and the next has come.
      this.#session.hold();
      await this.#retire(old);
    }
    const failure = await this.#startAndInstall(plan, swap.mode === "overlap" ? old : undefined);
    if (failure === undefined) return swap.mode === "overlap" ? old : undefined;
    // Without a server the next start is for whoever comes: secrets and all are put together anew.
    if (this.#current) this.#state = "serving";
    else
      void this.#comeBack(
        { status: { type: "exited", code: 1 }, tornBytes: 0, flushed: true, unanswered: [] },
        0,
      );
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

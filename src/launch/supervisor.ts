/**
 * Serves one MCP client for as long as it is there: fetches, starts the server, and has another take its place
 * when its secrets changed or it died. It owns the client's streams and the watchdog; a generation owns one server,
 * the switchboard the lines, `changes` and `comeback` what happens between two servers.
 *
 *   fetching -> starting -> serving <-> swapping
 *                             |  ^         |
 *                             v  |         v        (asked to stop, or ended and not to be restarted)
 *                         backing-off -> stopping -> stopped
 *
 * | state       | signal                       | end of stdin, reader gone        | the current server ends          |
 * | ----------- | ---------------------------- | -------------------------------- | -------------------------------- |
 * | fetching    | given up: InterruptedError   | -                                | -                                |
 * | starting    | likewise, once it has stopped| -                                | -                                |
 * | serving     | to every server's stop policy| to every server's stop policy    | backing-off, or stopped          |
 * | swapping    | likewise; nobody takes over  | likewise; nobody takes over      | the next one takes over, or else |
 * |             |                              |                                  | backing-off                      |
 * | backing-off | stopped                      | stopped                          | -                                |
 * | stopping    | to every server's stop policy| -                                | last bytes: stopped              |
 */
import { InterruptedError } from "../errors.ts";
import { CallWatch } from "../relay/calls.ts";
import { Session } from "../relay/session.ts";
import { Changes } from "./changes.ts";
import { Comeback } from "./comeback.ts";
import { type ExitStatus, exitCodeOf } from "./exit-status.ts";
import { type Generation, startGeneration } from "./generation.ts";
import { HeldWatch } from "./held-watch.ts";
import type { Helm } from "./helm.ts";
import type { Running } from "./running.ts";
import { type Circumstances, debtsOf, type Sequel, sequelOf } from "./sequel.ts";
import { ReplaceError, type Served, type ServeOptions, type SupervisorState } from "./serving.ts";
import type { LaunchPlan } from "./spawn.ts";
import { STOP_TIMES } from "./stopping.ts";
import { Succession } from "./succession.ts";
import { Switchboard } from "./switchboard.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/** Ms that the last bytes may take after the server has gone: a client that does not read can't hold us. */
export const LAST_BYTES_MS = 5000;

/**
 * Runs servers for one client until the last and all that came of it have gone and every byte is written.
 * Throws McpRunError if the first could not be prepared or started, InterruptedError if a signal came before.
 */
export function serve(options: ServeOptions): Promise<Served> {
  return new Supervisor(options).run();
}

/** What a server leaves behind. */
type LastWords = Pick<Served, "status" | "unanswered" | "tornBytes" | "flushed">;
type Ending = LastWords & Pick<Served, "endedByItself">;

class Supervisor implements Helm {
  readonly #options: ServeOptions;
  readonly #session: Session;
  readonly #board: Switchboard;
  readonly #succession: Succession;
  readonly #changes: Changes;
  readonly #comeback: Comeback;
  readonly #heldWatch: HeldWatch;
  readonly #living = new Set<Running>();
  /** Aborted: a signal came, the client has gone, or nothing more is to be started. */
  readonly #stopped = new AbortController();
  readonly #ended: Promise<Ending>;
  #end: (ending: Ending) => void = () => undefined;
  #fail: (bug: unknown) => void = () => undefined;
  #state: SupervisorState = "fetching";
  #count = 0;
  #current: Running | undefined;
  /** Of the server that was current last. */
  #last: (LastWords & Pick<Running, "isDismissed">) | undefined;
  #watchdog: Watchdog | undefined;
  #hasRetried = false;

  constructor(options: ServeOptions) {
    const { stdin, stdout, stderr, needles, maxLineBytes, leaks, clock, probe, swap, platform, onCall } =
      options;
    this.#options = options;
    const session = new Session({
      onIdle: (number) => this.#idle(number),
      now: () => clock.monotonic(),
      onIntroduced: () => this.#changes.look(),
      calls: onCall && new CallWatch(() => clock.monotonic(), onCall),
    });
    const warn = (message: string) => this.#warn(message);
    const onReaderGone = () => this.#clientGone(() => ({ type: "reader-gone" }));
    const board = new Switchboard({
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
    this.#session = session;
    this.#board = board;
    const succession = new Succession({ session, board, clock, probe, needles, stopped: this.stopped });
    this.#succession = succession;
    this.#heldWatch = new HeldWatch(clock, session, (lines) => board.tellClient(lines));
    this.#changes = new Changes({
      helm: this,
      succession,
      recall: session.recall,
      swap,
      hasProbe: probe !== undefined,
      platform,
      clock,
      onBegin: () => this.#enter("swapping"),
      onFailed: () => this.#changeFailed(),
    });
    this.#comeback = new Comeback({ helm: this, prepare: options.prepare, clock, warn });
    this.#ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
  }

  get current(): Running | undefined {
    return this.#current;
  }

  get stopped(): AbortSignal {
    return this.#stopped.signal;
  }

  get nextNumber(): number {
    return this.#count + 1;
  }

  async run(): Promise<Served> {
    const stopListening = this.#options.onSignal((signal) => this.#signalled(signal));
    try {
      const plan = await this.#fetch();
      this.#watchdog = this.#startWatchdog();
      try {
        this.#state = "starting";
        return await this.#serve(await this.#startFirst(plan));
      } finally {
        this.#watchdog.dismiss();
      }
    } finally {
      stopListening();
    }
  }

  async #fetch(): Promise<LaunchPlan> {
    const { stopped } = this;
    const plan = await this.#options.prepare(stopped, "first");
    if (stopped.aborted) {
      await plan.release?.();
      throw stopped.reason;
    }
    return plan;
  }

  #startWatchdog(): Watchdog {
    const { platform } = this.#options;
    const message = "no watchdog: if mcp-run itself is killed with SIGKILL, the server may live on";
    return startWatchdog({ platform, onMissing: () => this.#warn(message) });
  }

  async #startFirst(plan: LaunchPlan): Promise<Running> {
    const first = await this.#spawn(plan);
    if (!this.stopped.aborted) return first;
    this.#dismiss(first);
    await first.ended;
    throw this.stopped.reason;
  }

  async #serve(first: Running): Promise<Served> {
    const { onStarted, stdout } = this.#options;
    this.#state = "serving";
    this.#takenOver(first);
    this.#board.takeOver(first.number);
    const changes = this.#changes;
    const stopChanging = onStarted?.(first.generation.pid, {
      ready: () => changes.ready(),
      replace: (plan) => changes.replace(plan),
      signal: (name) => changes.signal(name),
      hurry: () => changes.hurry(),
      withhold: () => changes.withhold(),
      isDraining: () => changes.isDraining(),
      drained: () => changes.drained(),
      client: () => changes.client(),
      state: () => this.#state,
    });
    // Before those who wait for a change are told that there will be none.
    if (stopChanging) this.stopped.addEventListener("abort", stopChanging, { once: true });
    const fromClient = this.#readClient();
    try {
      const { endedByItself, ...ending } = await this.#ended;
      await this.#closeDown(fromClient);
      const flushed = ending.flushed && (stdout.isFlushed || stdout.isClosed);
      const { hasAnswered } = this.#session;
      return { ...ending, exitCode: exitCodeOf(ending.status), endedByItself, hasAnswered, flushed };
    } catch (bug) {
      await this.#closeDown(fromClient);
      throw bug;
    }
  }

  /** Nothing is started any more; whoever still finishes his work may do so within the times of a stop. */
  async #closeDown(fromClient: Promise<void>): Promise<void> {
    this.#state = "stopped";
    this.#stopped.abort(new Error("the session has ended"));
    this.#heldWatch.end();
    this.#board.stopReading();
    await fromClient;
    for (const { number, generation } of this.#living) {
      generation.tell({ type: "stdin-ended", unanswered: this.#session.unanswered(number).length });
    }
    await this.#changes.over();
    await Promise.all([...this.#living].map(({ ended }) => ended));
    this.#board.end();
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

  async start(plan: LaunchPlan): Promise<Running> {
    if (this.stopped.aborted) {
      await plan.release?.();
      throw new ReplaceError("the session ends");
    }
    const running = await this.#spawn(plan);
    if (!this.stopped.aborted) return running;
    this.#dismiss(running);
    await running.ended;
    throw new ReplaceError("the session ends");
  }

  async install(next: Running, reason: "replaced" | "restarted"): Promise<void> {
    try {
      await this.#succession.install(next, this.#current, () => this.#takenOver(next));
    } catch (error) {
      this.#dismiss(next);
      throw error;
    }
    this.#options.onReplaced?.(next.generation.pid, next.number, reason);
  }

  #takenOver(running: Running): void {
    this.#current = running;
    running.servesSince = this.#options.clock.monotonic();
    this.#heldWatch.end();
    this.#enter("serving");
    this.#changes.look();
  }

  #dismiss(running: Running): void {
    running.isDismissed = true;
    // To be told the same twice would mean to be killed.
    if (running.generation.stopState.id === "terminating") return;
    running.generation.tell({ type: "signal", signal: "SIGTERM" });
  }

  /** Throws as startGeneration does. */
  async #spawn(plan: LaunchPlan): Promise<Running> {
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
      servesSince: clock.monotonic(),
      isDismissed: false,
      ended,
    };
    this.#living.add(running);
    return running;
  }

  async #serverEnded(running: Running, status: ExitStatus): Promise<ExitStatus> {
    const { number } = running;
    if (running === this.#current) this.#heldWatch.begin();
    const timer = this.#options.clock.after(LAST_BYTES_MS, () => this.#board.cut(number));
    let last: LastWords = { status, tornBytes: 0, flushed: true, unanswered: [] };
    let sequel: Sequel = { type: "none" };
    const { tornBytes, flushed } = await this.#board.detach(number, () => {
      // Only now: while it was heard to its last word, another may have taken over.
      if (running === this.#current) {
        sequel = sequelOf(this.#session, number, this.#circumstances(running));
        this.#current = undefined;
        this.#last = { ...last, isDismissed: running.isDismissed };
      }
      const { lines, unanswered } = debtsOf(this.#session, number, sequel, Math.max(this.#count, number + 1));
      last = { ...last, unanswered };
      return lines;
    });
    timer.cancel();
    this.#living.delete(running);
    if (tornBytes > 0) this.#warn(`the server's last line had no end: ${tornBytes} bytes were dropped`);
    this.#follow(sequel, running, { ...last, tornBytes, flushed });
    return status;
  }

  #circumstances({ isDismissed }: Running): Circumstances {
    return {
      isStopped: this.stopped.aborted,
      isBeingReplaced: isDismissed || this.#state === "swapping",
      mayRestart: this.#options.onCrash === "restart",
      mayRetry: !this.#hasRetried,
    };
  }

  #follow(sequel: Sequel, { servesSince }: Running, last: LastWords): void {
    if (sequel.type === "end") this.#end({ ...last, endedByItself: sequel.endedByItself });
    if (sequel.type === "retry") {
      this.#hasRetried = true;
      this.#warn("the server ended at the probe of a newer client, and is started again for an older one");
      this.#comeBack(last, undefined);
    }
    if (sequel.type === "restart") this.#comeBack(last, this.#options.clock.monotonic() - servesSince);
  }

  /** @param livedMs as Comeback.after takes it */
  #comeBack(last: LastWords, livedMs: number | undefined): void {
    this.#enter("backing-off");
    this.#comeback.after(last.status, livedMs).then((status) => {
      if (!status) return;
      this.#board.tellClient(this.#session.refuseHeld("the server has ended"));
      this.#end({ ...last, status, endedByItself: !this.stopped.aborted });
    }, this.#fail);
  }

  #changeFailed(): void {
    if (this.#current) this.#enter("serving");
    else if (this.#last) this.#hasGoneInChange(this.#last);
  }

  /** It went, or was stopped, while it was to be replaced, and nobody took over. */
  #hasGoneInChange({ isDismissed, ...last }: LastWords & Pick<Running, "isDismissed">): void {
    if (isDismissed || this.#options.onCrash === "restart") this.#comeBack(last, undefined);
    else this.#end({ ...last, endedByItself: true });
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
    this.#clientGone(({ number }) => ({
      type: "stdin-ended",
      unanswered: this.#session.unanswered(number).length,
    }));
  }

  #clientGone(event: (running: Running) => Parameters<Generation["tell"]>[0]): void {
    this.#stop(new Error("the client has gone"), event);
  }

  /** Nothing is started any more, and every server is told. */
  #stop(reason: Error, event: (running: Running) => Parameters<Generation["tell"]>[0]): void {
    this.#enter("stopping");
    this.#stopped.abort(reason);
    this.#succession.release();
    for (const running of this.#living) running.generation.tell(event(running));
  }

  /** There is no way back from the end. */
  #enter(state: "serving" | "swapping" | "backing-off" | "stopping"): void {
    if (!this.stopped.aborted) this.#state = state;
  }

  #warn(message: string): void {
    this.#options.emit({ type: "warning", message });
  }
}

/**
 * `exec`: runs one program with its secrets and waits for it. It has our stdin; its two streams pass through
 * a scrubber each, or are ours too. On a terminal it stays in our group, so that the terminal's own signals
 * and job control reach it; without one it gets a group of its own.
 *
 * What it leaves running in the background is left alone, as a shell would: `exec` is for people and CI, who
 * start services on purpose. But nobody waits for such a service's output: see LAST_BYTES_MS.
 */
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import { InterruptedError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { ScrubStream } from "../scrub/scrub-stream.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { ByteRelay } from "./byte-relay.ts";
import { type ExitStatus, exitCodeOf } from "./exit-status.ts";
import { ProcessTree } from "./process-tree.ts";
import { type LaunchPlan, type SpawnedProgram, spawnProgram } from "./spawn.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/**
 * Ms that a stream may stay open after the program has ended, because something else holds it. The time in
 * which our own reader is slow does not count.
 */
export const LAST_BYTES_MS = 2000;
const LOOK_EVERY_MS = 50;

export interface ExecuteOptions {
  /** Fetches the secrets and puts together what to start; rejects with the signal's reason when it is aborted. */
  readonly prepare: (signal: AbortSignal) => Promise<LaunchPlan>;
  /** Never ended here. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly needles: NeedleSource;
  /** The program gets our stdout and stderr themselves. */
  readonly noScrub: boolean;
  /** True if any of our three streams is a terminal. */
  readonly onTerminal: boolean;
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Calls back at each signal that is to be forwarded; ends with the returned function. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  readonly onStarted?: (pid: number) => void;
}

export interface Executed {
  readonly status: ExitStatus;
  /** The exit code that mcp-run owes its caller. */
  readonly exitCode: number;
  /** False if a signal ended the wait for a slow reader. Then only the end of our process frees its streams. */
  readonly flushed: boolean;
}

/**
 * Throws McpRunError if the program could not be prepared or started, InterruptedError if a signal came before.
 */
export async function execute(options: ExecuteOptions): Promise<Executed> {
  const execution = new Execution(options);
  const stopListening = options.onSignal((signal) => execution.signalled(signal));
  try {
    return await execution.run();
  } finally {
    stopListening();
  }
}

type ExecutionState =
  | { readonly id: "fetching" }
  /** `forwarded`: signals so far; the second one kills. */
  | { readonly id: "running"; readonly tree: ProcessTree; readonly forwarded: number }
  | { readonly id: "ended" };

class Execution {
  readonly #options: ExecuteOptions;
  readonly #interrupted = new AbortController();
  #state: ExecutionState = { id: "fetching" };
  #relays: readonly ByteRelay[] = [];
  /** Ends the wait for the last bytes. */
  #giveUp: () => void = () => undefined;

  constructor(options: ExecuteOptions) {
    this.#options = options;
  }

  async run(): Promise<Executed> {
    const { signal } = this.#interrupted;
    const plan = await this.#options.prepare(signal);
    try {
      signal.throwIfAborted();
      return await this.#execute(plan);
    } finally {
      await plan.release?.();
    }
  }

  async #execute(plan: LaunchPlan): Promise<Executed> {
    const watchdog = this.#startWatchdog();
    try {
      const program = await this.#start(plan, watchdog);
      const status = await this.#ended(program);
      const flushed = await this.#lastBytes();
      return { status, exitCode: exitCodeOf(status), flushed };
    } finally {
      watchdog.dismiss();
    }
  }

  /** INT and QUIT of a terminal reach the program by themselves: it is in the same group. */
  signalled(signal: NodeJS.Signals): void {
    const state = this.#state;
    if (state.id === "fetching") this.#interrupted.abort(new InterruptedError(signal));
    else if (state.id === "ended") this.#giveUp();
    else if (this.#options.onTerminal && (signal === "SIGINT" || signal === "SIGQUIT")) return;
    else {
      this.#state = { ...state, forwarded: state.forwarded + 1 };
      if (state.forwarded === 0) state.tree.signalGroup(signal);
      else state.tree.signalAll("SIGKILL");
    }
  }

  #startWatchdog(): Watchdog {
    const { platform, emit } = this.#options;
    const message = "no watchdog: if mcp-run itself is killed with SIGKILL, the program may live on";
    return startWatchdog({ platform, onMissing: () => emit({ type: "warning", message }) });
  }

  async #start(plan: LaunchPlan, watchdog: Watchdog): Promise<SpawnedProgram> {
    const { platform, onTerminal, noScrub, onStarted } = this.#options;
    const output = noScrub ? "inherit" : "pipe";
    const ownGroup = !onTerminal;
    const program = await spawnProgram(plan, { platform, ownGroup, stdio: ["inherit", output, output] });
    watchdog.watch(program.pid, ownGroup ? "group" : "tree");
    this.#state = { id: "running", tree: new ProcessTree(program.pid, { ownGroup, platform }), forwarded: 0 };
    this.#relays = [
      ...this.#scrubbed(program.stdout, this.#options.stdout),
      ...this.#scrubbed(program.stderr, this.#options.stderr),
    ];
    onStarted?.(program.pid);
    return program;
  }

  #scrubbed(source: Readable | null, sink: Writable): ByteRelay[] {
    if (source === null) return [];
    const transform = new ScrubStream(this.#options.needles);
    return [new ByteRelay({ source, transform, sink, whenReaderGone: "close-source" })];
  }

  #ended(program: SpawnedProgram): Promise<ExitStatus> {
    return new Promise((resolve) => {
      program.onExit((status) => {
        if (this.#state.id === "running") this.#state.tree.markReaped();
        this.#state = { id: "ended" };
        resolve(status);
      });
    });
  }

  /** Waits for every byte; for a stream that something else holds open, only so long. False if given up. */
  #lastBytes(): Promise<boolean> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      let waited = 0;
      const look = () => {
        if (!this.#relays.some((relay) => relay.isBlocked)) waited += LOOK_EVERY_MS;
        if (waited > LAST_BYTES_MS) this.#cut();
        else timer = clock.after(LOOK_EVERY_MS, look);
      };
      let timer = clock.after(LOOK_EVERY_MS, look);
      const settle = (flushed: boolean) => {
        timer.cancel();
        resolve(flushed);
      };
      this.#giveUp = () => {
        this.#cut();
        settle(false);
      };
      void Promise.all(this.#relays.map((relay) => relay.done)).then(() => settle(true));
    });
  }

  #cut(): void {
    for (const relay of this.#relays) relay.cut();
  }
}

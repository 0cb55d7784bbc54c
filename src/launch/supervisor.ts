/**
 * Serves one MCP client: fetches, starts the server, relays lines both ways, and ends when the server has
 * gone. It owns the client's streams and the watchdog; a generation owns one server.
 *
 *   fetching --plan--> starting --spawned--> serving --asked to stop, or ended--> stopping --> stopped
 *      |                   |
 *      +--signal, failure--+--> (serve rejects; nothing was started)
 *
 * | state    | signal                       | end of stdin, idle, reader gone | the server ends       |
 * | -------- | ---------------------------- | ------------------------------- | --------------------- |
 * | fetching | given up: InterruptedError   | -                               | -                     |
 * | starting | likewise                     | -                               | -                     |
 * | serving  | to the stop policy: stopping | to the stop policy: stopping    | stopping              |
 * | stopping | to the stop policy           | to the stop policy              | last bytes: stopped   |
 * | stopped  | the last bytes are given up  | -                               | -                     |
 */
import { PassThrough, type Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import { InterruptedError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { answerOverlong } from "../relay/error-response.ts";
import { RequestLedger } from "../relay/ledger.ts";
import type { Line, OverlongLine } from "../relay/line.ts";
import { LineSink } from "../relay/line-sink.ts";
import { type PumpEnd, pumpLines } from "../relay/pump.ts";
import { ScrubStream } from "../scrub/scrub-stream.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { ByteRelay } from "./byte-relay.ts";
import { type ExitStatus, exitCodeOf } from "./exit-status.ts";
import { type Generation, startGeneration } from "./generation.ts";
import type { LaunchPlan } from "./spawn.ts";
import { STOP_TIMES } from "./stopping.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/** Ms that the last bytes may take after the server has gone: a client that does not read can't hold us. */
export const LAST_BYTES_MS = 5000;

/** Start-up chatter on stdout that is kept while stderr is blocked. */
const MOST_NOISE_BYTES = 1_048_576;

type SupervisorState =
  | { readonly id: "fetching" }
  | { readonly id: "starting"; readonly number: number }
  | { readonly id: "serving"; readonly number: number; readonly generation: Generation }
  | { readonly id: "stopping"; readonly number: number; readonly generation: Generation }
  | { readonly id: "stopped"; readonly status: ExitStatus };

export interface ServeOptions {
  /** Fetches the secrets and puts together what to start; rejects with the signal's reason when it is aborted. */
  readonly prepare: (signal: AbortSignal) => Promise<LaunchPlan>;
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
  readonly platform: NodeJS.Platform;
  readonly uid: number | undefined;
  /** For small private files of ours: Paths.run. */
  readonly runFolder: string;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Calls back at each INT, TERM, HUP or QUIT; ends with the returned function. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  /** The server runs. */
  readonly onStarted?: (pid: number) => void;
}

export interface Served {
  readonly status: ExitStatus;
  /** The exit code that mcp-run owes its caller. */
  readonly exitCode: number;
  /** False if a signal, the end of the client's input or the loss of its ear had been told before. */
  readonly endedByItself: boolean;
  /** What the client asked and who answered: `hasAnswered` is false if the server died before its first answer. */
  readonly ledger: RequestLedger;
  /** Bytes of a last line of the server without a newline; they were dropped. */
  readonly tornBytes: number;
  /** False if stdout or stderr was not read in time. Then only the end of our process frees these streams. */
  readonly flushed: boolean;
}

/**
 * Runs one server for one client until it and all that came of it have gone and every byte is written.
 * Throws McpRunError if it could not be prepared or started, InterruptedError if a signal came before.
 */
export function serve(options: ServeOptions): Promise<Served> {
  return new Supervisor(options).run();
}

class Supervisor {
  readonly #options: ServeOptions;
  readonly #ledger: RequestLedger;
  readonly #interrupted = new AbortController();
  /** Aborted: the server is gone, nothing more is read from the client. */
  readonly #clientDone = new AbortController();
  /** Aborted: what is not written by now is given up. */
  readonly #lastBytes = new AbortController();
  #state: SupervisorState = { id: "fetching" };

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#ledger = new RequestLedger({ onIdle: () => this.#tell({ type: "idle" }) });
  }

  async run(): Promise<Served> {
    const stopListening = this.#options.onSignal((signal) => this.#signalled(signal));
    try {
      const plan = await this.#fetch();
      const watchdog = this.#startWatchdog();
      try {
        return await this.#serve(await this.#start(plan, watchdog));
      } finally {
        watchdog.dismiss();
      }
    } finally {
      stopListening();
    }
  }

  async #fetch(): Promise<LaunchPlan> {
    const { signal } = this.#interrupted;
    const plan = await this.#options.prepare(signal);
    if (signal.aborted) {
      await plan.release?.();
      throw signal.reason;
    }
    return plan;
  }

  #startWatchdog(): Watchdog {
    const { platform, emit } = this.#options;
    const message = "no watchdog: if mcp-run itself is killed with SIGKILL, the server may live on";
    return startWatchdog({ platform, onMissing: () => emit({ type: "warning", message }) });
  }

  async #start(plan: LaunchPlan, watchdog: Watchdog): Promise<Generation> {
    const { platform, uid, clock, runFolder, stopGraceMs, onStarted } = this.#options;
    const number = 1;
    this.#state = { id: "starting", number };
    const times = { ...STOP_TIMES, graceMs: stopGraceMs };
    const generation = await startGeneration({ plan, times, platform, uid, clock, watchdog, runFolder });
    this.#state = { id: "serving", number, generation };
    onStarted?.(generation.pid);
    return generation;
  }

  async #serve(generation: Generation): Promise<Served> {
    const { stdout, clock } = this.#options;
    const toServer = new LineSink(generation.stdin);
    const noise = new PassThrough();
    const relays = [this.#scrubbed(generation.stderr), this.#scrubbed(noise)];
    const fromServer = this.#relayServer(generation, toServer, noise);
    const fromClient = this.#relayClient(toServer);

    const status = await generation.ended;
    const endedByItself = this.#state.id === "serving";
    this.#state = { id: "stopped", status };
    this.#clientDone.abort();
    this.#lastBytes.signal.addEventListener("abort", () => {
      generation.stdout.destroy();
      for (const relay of relays) relay.cut();
    });
    const timer = clock.after(LAST_BYTES_MS, () => this.#lastBytes.abort());
    await fromClient;
    const { tornBytes } = await fromServer;
    noise.end();
    const written = Promise.all(relays.map((relay) => relay.done)).then(() => true);
    const givenUp = aborted(this.#lastBytes.signal).then(() => false);
    const stderrFlushed = await Promise.race([written, givenUp]);
    timer.cancel();
    if (tornBytes > 0) this.#warn(`the server's last line had no end: ${tornBytes} bytes were dropped`);
    const flushed = stderrFlushed && (stdout.isFlushed || stdout.isClosed);
    return { status, exitCode: exitCodeOf(status), endedByItself, ledger: this.#ledger, tornBytes, flushed };
  }

  async #relayServer(generation: Generation, toServer: LineSink, noise: Writable): Promise<PumpEnd> {
    const { stdout, maxLineBytes } = this.#options;
    const end = await pumpLines(generation.stdout, stdout, {
      maxLineBytes,
      signal: this.#lastBytes.signal,
      onLine: (line) => this.#ledger.serverSaid(line),
      onOverlong: (line) => {
        this.#warn(`a line of ${line.length} bytes from the server was too long and was dropped`);
        if (line.envelope.type === "response") this.#ledger.answered(line.envelope.id);
        answerOverlong(line, maxLineBytes, { toSender: toServer, toReceiver: stdout });
      },
      onNoise: (line) => {
        if (noise.writableLength < MOST_NOISE_BYTES) noise.write(line);
      },
    });
    if (end.type === "sink-closed") {
      // It may still have to say a lot before it ends, and must not hang on a full pipe.
      generation.stdout.resume();
      this.#tell({ type: "reader-gone" });
    }
    return end;
  }

  async #relayClient(toServer: LineSink): Promise<void> {
    const { stdin, stdout, maxLineBytes } = this.#options;
    const options = {
      maxLineBytes,
      signal: this.#clientDone.signal,
      onLine: (line: Line) => this.#ledger.clientSaid(line),
      onOverlong: (line: OverlongLine) => {
        this.#warn(`a line of ${line.length} bytes from the client was too long and was dropped`);
        answerOverlong(line, maxLineBytes, { toSender: stdout, toReceiver: toServer });
      },
    };
    // Not only when all has been handed over: a server that hangs may never read it.
    const ended = () => this.#tell({ type: "stdin-ended", unanswered: this.#ledger.unanswered });
    stdin.once("end", ended);
    let end = await pumpLines(stdin, toServer, options);
    // A server that has closed its stdin: read on, for the sake of the ledger, and of the end of ours.
    if (end.type === "sink-closed") end = await pumpLines(stdin, nowhere(), options);
    stdin.off("end", ended);
    if (end.type !== "source-ended") return;
    if (end.tornBytes > 0)
      this.#warn(`the client's last line had no end: ${end.tornBytes} bytes were dropped`);
    ended();
  }

  #scrubbed(source: Readable): ByteRelay {
    const { stderr, needles } = this.#options;
    const transform = new ScrubStream(needles);
    return new ByteRelay({ source, transform, sink: stderr, whenReaderGone: "discard" });
  }

  #signalled(signal: NodeJS.Signals): void {
    if (this.#state.id === "stopped") this.#lastBytes.abort();
    else if (this.#state.id === "serving" || this.#state.id === "stopping")
      this.#tell({ type: "signal", signal });
    else this.#interrupted.abort(new InterruptedError(signal));
  }

  #tell(event: Parameters<Generation["tell"]>[0]): void {
    const state = this.#state;
    if (state.id !== "serving" && state.id !== "stopping") return;
    state.generation.tell(event);
    if (state.generation.stopState.id !== "serving") this.#state = { ...state, id: "stopping" };
  }

  #warn(message: string): void {
    this.#options.emit({ type: "warning", message });
  }
}

function nowhere(): LineSink {
  return new LineSink(new Writable({ write: (_chunk, _encoding, done) => done() }));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/**
 * A probe that is a program: it gets what a server has (environment, folder, delivered files) and says by its exit
 * code whether the secrets work. Bounded in time and output, watched like a server, and ended with all that came of it.
 */
import { type Clock, settledWithin } from "../clock.ts";
import { McpRunError } from "../errors.ts";
import { lastLines } from "../escape.ts";
import { type ProgramProbe, probeName } from "../relay/probe.ts";
import { ScrubStream } from "../scrub/scrub-stream.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import { wordsFor } from "./exit-status.ts";
import { type Generation, type GenerationOptions, startGeneration } from "./generation.ts";
import { STOP_TIMES } from "./stopping.ts";

/** Ms from TERM to KILL. */
const GRACE_MS = 500;
/** Characters of its output that are kept, from the end. */
const MOST_CHATTER = 4096;
/** Ms for the last bytes of pipes that something holds open. */
const LAST_BYTES_MS = 2_000;

/**
 * Undefined if the secrets work, else what is wrong, with its last words. Rejects with the signal's reason, the program
 * killed.
 *
 * @param server what the server was started with
 * @param needles what is hidden in its output
 */
export async function probeByProgram(
  probe: ProgramProbe,
  server: GenerationOptions,
  needles: NeedleSource,
  signal: AbortSignal,
): Promise<string | undefined> {
  signal.throwIfAborted();
  const [command, ...args] = probe.program;
  // The server's files are given back when the server has gone.
  const { release: _release, ...plan } = server.plan;
  const its = `its probe ${probeName(probe)}`;
  let running: Generation;
  try {
    const times = { ...STOP_TIMES, graceMs: GRACE_MS };
    running = await startGeneration({ ...server, plan: { ...plan, command, args }, times });
  } catch (error) {
    if (!(error instanceof McpRunError)) throw error;
    return `${its} could not be started: ${error.message}`;
  }
  const words = new LastWords(running, needles, server.clock);
  running.stdin.on("error", () => undefined).end();
  const end = await endOf(running, probe.timeoutMs, server.clock, signal);
  const said = await words.last();
  signal.throwIfAborted();
  if (end === 0) return undefined;
  const state = end === "late" ? `did not end within ${probe.timeoutMs / 1000} s` : `ended with ${end}`;
  return [`${its} ${state}`, ...said].join(" | ");
}

/** Its exit code; `late` if it was told to end. Resolves when nothing is left of it. */
async function endOf(
  running: Generation,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<0 | string> {
  let isLate = false;
  const stop = () => running.tell({ type: "signal", signal: "SIGTERM" });
  const kill = () => {
    stop();
    // The same once more means at once.
    stop();
  };
  const timer = clock.after(timeoutMs, () => {
    isLate = true;
    stop();
  });
  signal.addEventListener("abort", kill, { once: true });
  if (signal.aborted) kill();
  try {
    const status = await running.ended;
    if (isLate) return "late";
    return status.type === "exited" && status.code === 0 ? 0 : wordsFor(status);
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", kill);
  }
}

/** What it says on both streams, without secrets. */
class LastWords {
  readonly #clock: Clock;
  readonly #silence: Promise<unknown>;
  #chatter = "";

  constructor({ stdout, stderr }: Generation, needles: NeedleSource, clock: Clock) {
    this.#clock = clock;
    const silent = [stdout, stderr].map((source) => {
      const scrubbed = source.on("error", () => undefined).pipe(new ScrubStream(needles));
      scrubbed.setEncoding("utf8").on("data", (chunk: string) => {
        this.#chatter = (this.#chatter + chunk).slice(-MOST_CHATTER);
      });
      return new Promise((resolve) => scrubbed.once("end", resolve));
    });
    this.#silence = Promise.all(silent);
  }

  async last(): Promise<readonly string[]> {
    await settledWithin(this.#clock, LAST_BYTES_MS, this.#silence);
    return lastLines(this.#chatter, (text) => text).filter((line) => line !== "");
  }
}

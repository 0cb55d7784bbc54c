/**
 * A server that is started only to see whether it can be: as a client would, with its handshake and its probe. It is
 * ended again, with all that came of it, before anybody hears how it went.
 */
import { PassThrough } from "node:stream";
import { McpRunError } from "../errors.ts";
import { type Greeting, shakeHands } from "../relay/handshake.ts";
import { LineSink } from "../relay/line-sink.ts";
import { isProgramProbe, type Probe, type ProgramProbe, probeName } from "../relay/probe.ts";
import type { NeedleSet } from "../scrub/needle-set.ts";
import { scrubText } from "../scrub/scrub-stream.ts";
import { probeByProgram } from "./probe-program.ts";
import type { ServeOptions } from "./serving.ts";
import type { LaunchPlan } from "./spawn.ts";
import { STOP_TIMES } from "./stopping.ts";
import { serve } from "./supervisor.ts";
import { startWatchdog } from "./watchdog.ts";

/** Characters of stderr that are kept, and lines of it that are told. */
const MOST_CHATTER = 4096;
const LAST_LINES = 5;

export interface TrialOptions
  extends Pick<
    ServeOptions,
    | "prepare"
    | "maxLineBytes"
    | "stopGraceMs"
    | "platform"
    | "uid"
    | "runFolder"
    | "clock"
    | "emit"
    | "onSignal"
  > {
  /** What to hide in everything that is told of it. */
  readonly needles: NeedleSet;
  readonly probe: Probe | undefined;
  /** Ms for the handshake, the start included, and again for a probe that is a request. */
  readonly patienceMs: number;
  /** What we call ourselves. */
  readonly clientVersion: string;
}

export interface Trial {
  /** What it said of itself, or why it did not. */
  readonly greeting: Greeting | McpRunError;
  readonly exitCode: number;
  /** The end of its stderr, a line each; empty if it said nothing. */
  readonly lastLines: readonly string[];
}

/** Rejects as `serve` does: with McpRunError if it could not be prepared or started. */
export async function tryServer(options: TrialOptions): Promise<Trial> {
  const { needles, probe, patienceMs, clientVersion, prepare, ...serving } = options;
  const [toServer, fromServer, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  let chatter = "";
  stderr.setEncoding("utf8").on("data", (chunk: string) => {
    chatter = (chatter + chunk).slice(-MOST_CHATTER);
  });
  const stdout = new LineSink(fromServer);
  let plan: LaunchPlan | undefined;
  const prepareOnce: ServeOptions["prepare"] = async (signal, reason) => {
    plan = await prepare(signal, reason);
    return plan;
  };
  const streams = { stdin: toServer, stdout, stderr };
  const served = serve({ ...serving, needles, prepare: prepareOnce, ...streams }).finally(() =>
    fromServer.end(),
  );
  // Listened to from the start: it may fail before the handshake does.
  const ending = Promise.allSettled([served]);
  const { clock } = options;
  const program = probe && isProgramProbe(probe) ? probe : undefined;
  const request = probe && !isProgramProbe(probe) ? probe : undefined;
  const hands = { clock, timeoutMs: patienceMs, clientVersion, probe: request };
  const greeting = shakeHands(toServer, fromServer, hands).then(async (hello) => {
    if (!program || !plan) return hello;
    return { ...hello, probe: { name: probeName(program), wrong: await wrongBy(program, plan, options) } };
  });
  const [greeted] = await Promise.allSettled([greeting]);
  toServer.end();
  const [ended] = await ending;
  if (ended.status === "rejected") throw ended.reason;
  // What a server says of itself may hold what it was given.
  const hidden = (text: string) => scrubText(text, needles);
  return {
    greeting:
      greeted.status === "fulfilled"
        ? hiddenGreeting(greeted.value, hidden)
        : refusal(greeted.reason, hidden),
    exitCode: ended.value.exitCode,
    lastLines: chatter === "" ? [] : chatter.trimEnd().split("\n").slice(-LAST_LINES),
  };
}

/** As probeByProgram says it; the program is ended at the first signal. */
async function wrongBy(
  probe: ProgramProbe,
  plan: LaunchPlan,
  { clock, platform, uid, runFolder, needles, onSignal }: TrialOptions,
): Promise<string | undefined> {
  const watchdog = startWatchdog({ platform });
  const stop = new AbortController();
  const stopListening = onSignal(() => stop.abort());
  try {
    const server = { plan, times: STOP_TIMES, platform, uid, clock, watchdog, runFolder };
    return await probeByProgram(probe, server, needles, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return `its probe ${probeName(probe)} was interrupted`;
  } finally {
    stopListening();
    watchdog.dismiss();
  }
}

type Hide = (text: string) => string;

function hiddenGreeting({ probe, ...greeting }: Greeting, hidden: Hide): Greeting {
  const { server, protocolVersion } = greeting;
  return {
    ...greeting,
    server: hidden(server),
    protocolVersion: hidden(protocolVersion),
    ...(probe && { probe: { ...probe, wrong: probe.wrong === undefined ? undefined : hidden(probe.wrong) } }),
  };
}

function refusal(error: unknown, hidden: Hide): McpRunError {
  if (!(error instanceof McpRunError)) throw error;
  return new McpRunError(error.code, hidden(error.message), { ...(error.hint && { hint: error.hint }) });
}

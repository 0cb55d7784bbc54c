/**
 * The canary of a rotation: one server with the candidates, started beside whatever runs, shaken hands with, proven
 * by the profile's probe, and ended. No client sees it, and nothing else of the profile is different.
 */
import type { Clock } from "../../clock.ts";
import { InterruptedError, McpRunError } from "../../errors.ts";
import { lastLines } from "../../escape.ts";
import type { ServeOptions } from "../../launch/serving.ts";
import type { LaunchPlan } from "../../launch/spawn.ts";
import { type Trial, tryServer } from "../../launch/trial.ts";
import type { Probe } from "../../relay/probe.ts";
import type { NeedleSet } from "../../scrub/needle-set.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Canary, CanaryOutcome } from "../contract.ts";

/** Ms for the handshake, and again for the probe. */
const PATIENCE_MS = 30_000;
/** Characters; a server may say what it likes. */
const LONGEST_REASON = 2_000;

/** A server that can be started with the candidates. */
export interface PreparedServer {
  /** Throws McpRunError. */
  start(): LaunchPlan;
  /** Gives back what was fetched for it. Never rejects. */
  release(): Promise<void>;
}

export interface ServerCanaryOptions
  extends Pick<ServeOptions, "maxLineBytes" | "stopGraceMs" | "platform" | "uid" | "runFolder" | "emit"> {
  readonly clock: Clock;
  readonly probe: Probe | undefined;
  readonly clientVersion: string;
  /** What is hidden on the server's stderr; `prepare` adds the candidates, and all else that the server gets. */
  readonly needles: NeedleSet;
  /** Who runs it, for people. */
  readonly ranBy: string;
  /** What else has to be hidden in what a server says: what looks like a credential. */
  readonly masked: (text: string) => string;
  /** Fetches what the profile needs, with the candidates in their places. Rejects with McpRunError. */
  readonly prepare: (candidates: ReadonlyMap<string, Secret>, signal: AbortSignal) => Promise<PreparedServer>;
}

export class ServerCanary implements Canary {
  readonly #options: ServerCanaryOptions;

  constructor(options: ServerCanaryOptions) {
    this.#options = options;
  }

  /**
   * Rejects with McpRunError if nothing could be tried, since a backend did not give the other secrets: that says
   * nothing of the candidates. Rejects with the signal's reason, once the server has gone.
   */
  async try(candidates: ReadonlyMap<string, Secret>, signal: AbortSignal): Promise<CanaryOutcome> {
    const { prepare, ranBy, masked, ...options } = this.#options;
    const server = await prepare(candidates, signal);
    try {
      const trial = await tryServer({
        ...options,
        prepare: async () => server.start(),
        patienceMs: PATIENCE_MS,
        onSignal: (listener) => endWith(signal, listener),
      });
      signal.throwIfAborted();
      return { ...outcomeOf(trial, options.probe, masked), ranBy };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof McpRunError) || error instanceof InterruptedError) throw error;
      return { works: false, wasProbed: false, reason: error.message, details: error.details, ranBy };
    } finally {
      await server.release();
    }
  }
}

function outcomeOf(
  { greeting, exitCode, lastLines: said }: Trial,
  probe: Probe | undefined,
  masked: (text: string) => string,
): CanaryOutcome {
  const failed = (wasProbed: boolean, reason: string): CanaryOutcome => ({
    works: false,
    wasProbed,
    reason: masked(reason.slice(0, LONGEST_REASON)),
    details: [
      ...(exitCode === 0 ? [] : [`it ended with exit code ${exitCode}`]),
      ...lastLines(said.join("\n"), masked).filter((line) => line !== ""),
    ],
  });
  if (greeting instanceof McpRunError) return failed(false, greeting.message);
  if (greeting.probe?.wrong) return failed(true, greeting.probe.wrong);
  return { works: true, wasProbed: probe !== undefined };
}

/** The supervisor stops a server at a signal, in bounded time. */
function endWith(signal: AbortSignal, listener: (signal: NodeJS.Signals) => void): () => void {
  const end = () => listener("SIGTERM");
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  return () => signal.removeEventListener("abort", end);
}

/** What a supervisor is given, and what it gives back. */
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import type { Emit } from "../events.ts";
import type { EndedCall } from "../relay/calls.ts";
import type { ClientRequest } from "../relay/ledger.ts";
import type { LineSink } from "../relay/line-sink.ts";
import type { Probe } from "../relay/probe.ts";
import type { ClientName, Era } from "../relay/recall.ts";
import type { NeedleSource } from "../scrub/scrubber.ts";
import type { ExitStatus } from "./exit-status.ts";
import type { LaunchPlan } from "./spawn.ts";
import type { LeakPolicy } from "./switchboard.ts";

/**
 * Why a server is to be started: it is the first; one that served has ended, and needs no other secrets; or others
 * before it did not come up in its place, maybe for want of new ones.
 */
export type StartReason = "first" | "restart" | "retry";

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
  /** Is told of each tool call when it has ended; without it nobody looks into them. */
  readonly onCall?: ((call: EndedCall) => void) | undefined;
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
  readonly onStarted?: (pid: number, control: ServerControl) => (() => void) | undefined;
  /** Another server has taken over: because somebody asked for it, or because the one before had ended. */
  readonly onReplaced?: (pid: number, generation: number, reason: "replaced" | "restarted") => void;
}

/** How somebody else changes the server under a client that goes on. */
export interface ServerControl {
  /**
   * Resolves when another server could take over: a server runs, the client has introduced itself, and no change is
   * under way, a draining server included. Rejects when there will be no such time: the session ends.
   */
  ready(): Promise<void>;
  /**
   * Has a server with this plan take the place of the current one. Resolves once it has; rejects with ReplaceError
   * if the current one goes on. One after the other: while a server drains, the next change waits. Either way the
   * plan is released in the end.
   */
  replace(plan: LaunchPlan): Promise<void>;
  /** Sends a signal to the current server itself, and proves it by the probe. Rejects with ReplaceError. */
  signal(signal: NodeJS.Signals): Promise<void>;
  /** A leaked key is being replaced: old servers, that of a change soon to come too, get half a minute for their work. */
  hurry(): void;
  /**
   * Has the client's new requests wait, in their order, whichever server takes over meanwhile; what is under way goes
   * on. They go to the server that is there at the end of the session, too. Else why they can't wait: a state.
   */
  withhold(): Withheld | string;
  /** An old server finishes its work, with what it was started with. */
  isDraining(): boolean;
  /** Resolves when none does any more; never rejects. */
  drained(): Promise<void>;
  /** Who the client says that it is, and which protocol it speaks. */
  client(): { readonly name?: ClientName | undefined; readonly era: Era };
  state(): SupervisorState;
}

export interface Withheld {
  /** The server that was there at the beginning has work to finish. */
  isBusy(): boolean;
  letGo(): void;
}

export type SupervisorState =
  | "fetching"
  | "starting"
  | "serving"
  | "swapping"
  | "backing-off"
  | "stopping"
  | "stopped";

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

/** Why a server did not get the place of another; a state. */
export class ReplaceError extends Error {
  override readonly name = "ReplaceError";
}

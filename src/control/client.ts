/** The asker's end: one request, one answer, and always an end. */
import { connect } from "node:net";
import type { Clock } from "../clock.ts";
import { McpRunError, systemErrorCode } from "../errors.ts";
import type { Endpoint } from "./endpoint.ts";
import { firstLineOf } from "./first-line.ts";
import {
  type Answer,
  LONGEST_LINE,
  PROTOCOL_VERSION,
  type Refusal,
  type Request,
  type RequestType,
  readAnswer,
} from "./protocol.ts";

export interface AskOptions {
  /** For the whole of it. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type Outcome<Type extends RequestType> =
  | { readonly type: "answered"; readonly answer: Answer<Type> }
  /** The supervisor says no. */
  | { readonly type: "refused"; readonly error: Refusal }
  /** Nobody listens there. */
  | { readonly type: "absent" }
  /** Somebody may be there, and has not answered; a state. */
  | { readonly type: "silent"; readonly reason: string };

/** What somebody asks, without the version. */
export type Question<Type extends RequestType> = Omit<Request<Type>, "v" | "type"> & { readonly type: Type };

/**
 * Asks one supervisor. Throws McpRunError `backend-unavailable` where nobody answers, `usage` for a request that is
 * too long, or the signal's reason.
 */
export async function ask<Type extends RequestType>(
  endpoint: Endpoint,
  question: Question<Type>,
  options: AskOptions,
): Promise<Extract<Outcome<Type>, { type: "answered" | "refused" }>> {
  const outcome = await tryToAsk(endpoint, question, options);
  if (outcome.type === "answered" || outcome.type === "refused") return outcome;
  const state = outcome.type === "absent" ? "it does not run" : outcome.reason;
  throw new McpRunError("backend-unavailable", `Cannot ask the mcp-run with pid ${endpoint.pid}: ${state}`, {
    hint: "mcp-run status",
  });
}

/** Likewise, with nobody's answer as a value. */
export async function tryToAsk<Type extends RequestType>(
  endpoint: Endpoint,
  question: Question<Type>,
  { timeoutMs, clock, signal }: AskOptions,
): Promise<Outcome<Type>> {
  signal.throwIfAborted();
  const line = `${JSON.stringify({ v: PROTOCOL_VERSION, ...question })}\n`;
  if (Buffer.byteLength(line) > LONGEST_LINE)
    throw new McpRunError(
      "usage",
      `Cannot ask for ${question.type}: the message would be longer than ${LONGEST_LINE} bytes`,
    );
  const socket = connect(endpoint.path);
  const stop = () => socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  let failure: string | undefined;
  socket.on("error", (error) => {
    failure = systemErrorCode(error) ?? error.name;
  });
  let isLate = false;
  const timer = clock.after(timeoutMs, () => {
    isLate = true;
    socket.destroy();
  });
  try {
    socket.write(line);
    const first = await firstLineOf(socket, LONGEST_LINE);
    signal.throwIfAborted();
    if (isLate) return { type: "silent", reason: `no answer within ${timeoutMs / 1000} s` };
    if (first.type === "line") return understood(question.type, first.text);
    if (failure === "ECONNREFUSED" || failure === "ENOENT") return { type: "absent" };
    return { type: "silent", reason: failure ?? (first.type === "none" ? "it hung up" : UNINTELLIGIBLE) };
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/** True if somebody listens there. */
export async function isListenedTo({ path }: Endpoint): Promise<boolean> {
  const socket = connect(path);
  try {
    return await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", (error) => resolve(systemErrorCode(error) !== "ECONNREFUSED"));
    });
  } finally {
    socket.destroy();
  }
}

const UNINTELLIGIBLE = "its answer is not of this protocol; it may be of another version";

function understood<Type extends RequestType>(type: Type, line: string): Outcome<Type> {
  const read = readAnswer(type, line);
  if (!read) return { type: "silent", reason: UNINTELLIGIBLE };
  return "answer" in read
    ? { type: "answered", answer: read.answer }
    : { type: "refused", error: read.refused };
}

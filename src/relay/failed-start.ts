/**
 * A client whose server can't start shows its user only «disconnected», unless a request of its is answered
 * with the reason. This waits a moment for that request, answers it, and leaves nothing behind: no timer,
 * no listener. design.md section 5, «When the start fails».
 */
import { type Readable, Writable } from "node:stream";
import type { Clock } from "../clock.ts";
import { batchMembers } from "./batch.ts";
import type { Envelope } from "./envelope.ts";
import { errorResponse } from "./error-response.ts";
import type { Line } from "./line.ts";
import { LineSink } from "./line-sink.ts";
import { pumpLines } from "./pump.ts";

/** A first request is short; what is longer is answered all the same, but not kept. */
const MAX_LINE_BYTES = 1_048_576;

export interface FailedStartOptions {
  readonly clock: Clock;
  /** Ms to wait for the client's first request, and again for `initialize` after `server/discover`. */
  readonly waitMs?: number;
  /** Aborted: nobody waits for the client any more. */
  readonly signal?: AbortSignal;
}

/**
 * Answers every request on `input` with `message` (one line, no secrets) until `initialize` was among them,
 * the time is up, the signal is aborted, or either stream has ended; then waits, within that time, until the answers
 * have gone out.
 * A modern client asks `server/discover` first and falls back to `initialize` after an error. Never rejects.
 */
export async function answerFailedStart(
  input: Readable,
  output: LineSink,
  message: string,
  { clock, waitMs = 2000, signal }: FailedStartOptions,
): Promise<void> {
  const reading = new AbortController();
  const waiting = new AbortController();
  const giveUp = () => {
    reading.abort();
    waiting.abort();
  };
  let timer = clock.after(waitMs, giveUp);
  let hasDiscovered = false;
  const answer = (envelope: Envelope) => {
    if (envelope.type !== "request") return;
    output.write([errorResponse(envelope.id, message)]);
    if (envelope.method === "initialize") reading.abort();
    if (envelope.method !== "server/discover" || hasDiscovered) return;
    hasDiscovered = true;
    timer.cancel();
    timer = clock.after(waitMs, giveUp);
  };
  const unwatch = output.watch(() => {
    if (output.isClosed) giveUp();
  });
  signal?.addEventListener("abort", giveUp);
  if (output.isClosed || signal?.aborted) giveUp();
  await pumpLines(input, discardingSink(), {
    maxLineBytes: MAX_LINE_BYTES,
    signal: reading.signal,
    onLine: (line) => forEachMessage(line, answer),
    onOverlong: (line) => answer(line.envelope),
  });
  await flushed(output, waiting.signal);
  unwatch();
  signal?.removeEventListener("abort", giveUp);
  timer.cancel();
}

function forEachMessage(line: Line, look: (envelope: Envelope) => void): void {
  if (line.envelope.type !== "batch") look(line.envelope);
  else for (const member of batchMembers(line.bytes)) look(member.envelope);
}

function discardingSink(): LineSink {
  return new LineSink(new Writable({ write: (_chunk, _encoding, done) => done() }));
}

/** Settles when everything has gone out, can't any more, or `signal` is aborted. */
function flushed(sink: LineSink, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!sink.isFlushed && !sink.isClosed && !signal.aborted) return;
      unwatch();
      signal.removeEventListener("abort", look);
      resolve();
    };
    const unwatch = sink.watch(look);
    signal.addEventListener("abort", look);
    look();
  });
}

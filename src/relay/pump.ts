/**
 * Moves whole lines from a stream to a sink: every byte unchanged and in order, at the reader's pace.
 * In memory there is one line that is going out, at most 1 MiB of the next or else one more chunk, and what
 * the streams themselves buffer. Whatever ends it (end of the source, a reader that has gone, an abort) is a
 * value, and never rejects. A reader that only stands still is waited for: `signal` is the way out.
 */
import type { Readable } from "node:stream";
import { systemErrorCode } from "../errors.ts";
import type { Line, OverlongLine } from "./line.ts";
import type { LineTarget } from "./line-sink.ts";
import { LineSplitter, type LineSplitterOptions } from "./line-splitter.ts";

/** Bytes of the next line that are read while the sink is still busy with the last. */
const READ_AHEAD = 1_048_576;

export interface PumpOptions {
  /** Bytes that a line may have, its newline included. */
  readonly maxLineBytes: number;
  /** Sees every chunk before the lines in it are asked about. */
  readonly onChunk?: (chunk: Buffer) => void;
  /** Sees every line just before it goes out. */
  readonly onLine?: (line: Line) => void;
  /** Says of every line what goes out: the line, nothing, or other whole lines. */
  readonly judge?: (line: Line) => boolean | readonly Buffer[];
  /** A line was too long and did not go out; see answerOverlong. */
  readonly onOverlong?: (line: OverlongLine) => void;
  /** Takes the lines before the first message instead of the sink: start-up chatter on stdout. */
  readonly onNoise?: (line: Buffer) => void;
  /** Stops reading; what has been written still goes out. */
  readonly signal?: AbortSignal;
}

export interface PumpEnd {
  /** `source-ended` comes only after the sink has handed over everything. */
  readonly type: "source-ended" | "sink-closed" | "aborted";
  /** Bytes of a last line without a newline, which did not go out. */
  readonly tornBytes: number;
  /** What the system called it, if a stream failed: `EPIPE`, `EIO`. */
  readonly errorCode?: string;
}

/** The source is paused afterwards, and neither stream is ended or destroyed. */
export function pumpLines(source: Readable, sink: LineTarget, options: PumpOptions): Promise<PumpEnd> {
  return new Promise((resolve) => {
    const { maxLineBytes, onChunk, onOverlong, signal } = options;
    const splitter = new LineSplitter({ maxLineBytes, onOverlong, onLine: lineJudge(options) });
    let sourceHasEnded = source.readableEnded || source.destroyed;
    let sourceErrorCode = systemErrorCode(source.errored);
    /** The last chunk's lines wait in memory, behind what the sink had not taken yet. */
    let hasQueued = false;
    let isOver = false;

    const finish = (type: PumpEnd["type"], errorCode?: string) => {
      isOver = true;
      source
        .off("data", onData)
        .off("end", onSourceEnd)
        .off("close", onSourceEnd)
        .off("error", onSourceError);
      unwatch();
      signal?.removeEventListener("abort", onAbort);
      source.pause();
      resolve({ type, tornBytes: splitter.tornBytes, ...(errorCode === undefined ? {} : { errorCode }) });
    };
    const look = () => {
      if (isOver) return;
      if (sink.isClosed) finish("sink-closed", sink.errorCode);
      else if (sourceHasEnded && sink.isFlushed) finish("source-ended", sourceErrorCode);
      else if (sink.isFull && (hasQueued || splitter.tornBytes >= READ_AHEAD)) source.pause();
      else if (!sourceHasEnded) source.resume();
    };
    const onData = (chunk: Buffer) => {
      onChunk?.(chunk);
      const lines = splitter.push(chunk);
      hasQueued = sink.isFull && lines.length > 0;
      sink.write(lines);
      look();
    };
    const onSourceEnd = () => {
      sourceHasEnded = true;
      look();
    };
    const onSourceError = (error: Error) => {
      sourceErrorCode ??= systemErrorCode(error);
      onSourceEnd();
    };
    const onAbort = () => finish("aborted");

    const unwatch = sink.watch(look);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    source.on("end", onSourceEnd).on("close", onSourceEnd).on("error", onSourceError).on("data", onData);
    look();
  });
}

/** Undefined if no line needs to be looked at: then chunks pass without being taken apart. */
function lineJudge({ onLine, judge, onNoise }: PumpOptions): LineSplitterOptions["onLine"] {
  if (onLine === undefined && judge === undefined && onNoise === undefined) return undefined;
  let hasSpoken = onNoise === undefined;
  return (line) => {
    if (!hasSpoken) {
      hasSpoken = line.envelope.type !== "opaque";
      if (!hasSpoken) {
        onNoise?.(line.bytes);
        return false;
      }
    }
    onLine?.(line);
    return judge?.(line) ?? true;
  };
}

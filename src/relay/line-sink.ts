/**
 * The writing end of a stream that several may write to: each write is whole lines, so they never mix.
 * A reader that has gone is a state here, never an exception and never an unhandled `error` event: the sink
 * keeps its listeners on the stream for good, and remembers the end of streams that forget it (process.stdout).
 */
import type { Writable } from "node:stream";
import { systemErrorCode } from "../errors.ts";

/** Where a pump moves lines to. */
export interface LineTarget {
  readonly isClosed: boolean;
  readonly errorCode: string | undefined;
  readonly isFull: boolean;
  readonly isFlushed: boolean;
  write(lines: readonly Buffer[]): void;
  watch(watcher: () => void): () => void;
}

export class LineSink implements LineTarget {
  readonly #stream: Writable;
  readonly #watchers = new Set<() => void>();
  readonly #written: (error?: Error | null) => void;
  /** Writes that the operating system has not taken yet. */
  #underway = 0;
  #isClosed: boolean;
  #errorCode: string | undefined;

  constructor(stream: Writable) {
    this.#stream = stream;
    this.#isClosed = stream.destroyed || stream.writableEnded || stream.errored !== null;
    this.#errorCode = systemErrorCode(stream.errored);
    this.#written = (error) => {
      this.#underway--;
      if (error) this.#close(error);
      else this.#tell();
    };
    stream.on("error", (error) => this.#close(error));
    stream.on("close", () => this.#close());
    stream.on("drain", () => this.#tell());
  }

  /** True once nothing that is written can arrive any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Why it closed, where the system said so: `EPIPE`. */
  get errorCode(): string | undefined {
    return this.#errorCode;
  }

  /** True while a writer should wait; what it writes all the same is kept in memory. */
  get isFull(): boolean {
    return this.#stream.writableNeedDrain && !this.#isClosed;
  }

  /** True when the operating system has taken everything that was written. */
  get isFlushed(): boolean {
    return this.#underway === 0;
  }

  /** Writes whole lines, in one system call where that can be; without effect on a closed sink. */
  write(lines: readonly Buffer[]): void {
    const last = lines.at(-1);
    if (this.#isClosed || last === undefined) return;
    const stream = this.#stream;
    this.#underway++;
    if (lines.length > 1) stream.cork();
    for (let index = 0; index < lines.length - 1; index++) stream.write(lines[index]);
    stream.write(last, this.#written);
    if (lines.length > 1) stream.uncork();
  }

  /** Tells the reader that nothing more comes, after everything that was written. */
  end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stream.end();
    this.#tell();
  }

  /** Calls `watcher` whenever one of the states above may have changed; the answer ends that. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #close(error?: unknown): void {
    this.#isClosed = true;
    this.#errorCode ??= systemErrorCode(error);
    this.#tell();
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

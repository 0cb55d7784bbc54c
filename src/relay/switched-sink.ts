/**
 * The way to whichever server is current. While there is none, nothing is written to it; and a server that has
 * closed its stdin takes no more lines, but the client's side goes on.
 */
import type { LineSink, LineTarget } from "./line-sink.ts";

export class SwitchedSink implements LineTarget {
  readonly isClosed = false;
  readonly errorCode = undefined;
  readonly #watchers = new Set<() => void>();
  readonly #mustWait: () => boolean;
  #sink: LineSink | undefined;
  #unwatch: () => void = () => undefined;

  /** `mustWait`: true while the client has to be slowed down although nothing is written. */
  constructor(mustWait: () => boolean) {
    this.#mustWait = mustWait;
  }

  switchTo(sink: LineSink | undefined): void {
    this.#unwatch();
    this.#sink = sink;
    this.#unwatch = sink?.watch(() => this.tell()) ?? (() => undefined);
    this.tell();
  }

  get isFull(): boolean {
    return (this.#sink?.isFull ?? false) || this.#mustWait();
  }

  get isFlushed(): boolean {
    return this.#sink === undefined || this.#sink.isFlushed || this.#sink.isClosed;
  }

  write(lines: readonly Buffer[]): void {
    this.#sink?.write(lines);
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Something of the above may have changed. */
  tell(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

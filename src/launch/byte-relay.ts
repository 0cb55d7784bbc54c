/**
 * Carries one stream of a program through a transform to a stream of ours, at the reader's pace, without
 * ending ours. A reader that has gone is no error; every byte is out before `done` resolves.
 */
import type { Readable, Transform, Writable } from "node:stream";

export interface ByteRelayOptions {
  readonly source: Readable;
  readonly transform: Transform;
  readonly sink: Writable;
  /**
   * When our reader has gone: `close-source` passes that on, so that the program's next write fails as it
   * would have without us; `discard` lets the program write on into nothing.
   */
  readonly whenReaderGone: "close-source" | "discard";
}

export class ByteRelay {
  /** Resolves when the source has ended and everything is written, or the reader has gone. Never rejects. */
  readonly done: Promise<void>;
  readonly #options: ByteRelayOptions;
  #finish: () => void = () => undefined;

  constructor(options: ByteRelayOptions) {
    this.#options = options;
    const { source, transform, sink } = options;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    sink.on("error", this.#readerGone);
    sink.on("close", this.#readerGone);
    source.on("error", this.#sourceEnded);
    source.on("close", this.#sourceEnded);
    transform.on("end", this.#flush);
    void this.done.then(() => {
      sink.off("close", this.#readerGone);
      // One stream may see many relays; but an error that nobody listens for would end the process.
      if (sink.listenerCount("error") > 1) sink.off("error", this.#readerGone);
    });
    if (sink.destroyed || sink.writableEnded) this.#readerGone();
    else source.pipe(transform).pipe(sink, { end: false });
  }

  /** True while our reader is the one who is waited for. */
  get isBlocked(): boolean {
    return this.#options.sink.writableNeedDrain;
  }

  /** Stops reading; what has been read is still written. */
  cut(): void {
    const { source, transform } = this.#options;
    source.unpipe(transform);
    source.destroy();
    transform.end();
  }

  /** A source that was destroyed has no `end`, and the transform may still hold bytes. */
  readonly #sourceEnded = (): void => {
    if (!this.#options.transform.writableEnded) this.#options.transform.end();
  };

  readonly #flush = (): void => {
    // The callback of an empty write comes after those of all writes before it.
    this.#options.sink.write("", () => this.#finish());
  };

  readonly #readerGone = (): void => {
    const { source, transform, sink, whenReaderGone } = this.#options;
    source.unpipe(transform);
    transform.unpipe(sink);
    if (whenReaderGone === "close-source") source.destroy();
    else source.resume();
    this.#finish();
  };
}

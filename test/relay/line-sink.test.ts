import { PassThrough, Writable } from "node:stream";
import { describe, expect, test, vi } from "vitest";
import { LineSink } from "../../src/relay/line-sink.ts";

const LINE = Buffer.from("line\n");

describe("LineSink", () => {
  test("says when it is full, flushed and free again", async () => {
    let release: () => void = () => undefined;
    const stream = new Writable({
      highWaterMark: 3,
      write(_chunk, _encoding, done) {
        release = () => done();
      },
    });
    const sink = new LineSink(stream);
    const seen: string[] = [];
    sink.watch(() => seen.push(`full ${sink.isFull}, flushed ${sink.isFlushed}`));

    sink.write([LINE]);
    expect([sink.isFull, sink.isFlushed]).toEqual([true, false]);
    release();
    await expect.poll(() => sink.isFull).toBe(false);

    expect(sink.isFlushed).toBe(true);
    expect(seen.at(-1)).toBe("full false, flushed true");
  });

  test("stays closed on a stream that forgets its error, as process.stdout does", async () => {
    const stream = new Writable({
      autoDestroy: false,
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error("gone"), { code: "EPIPE" }));
      },
    });
    const sink = new LineSink(stream);
    sink.write([LINE]);
    await expect.poll(() => sink.isClosed).toBe(true);

    sink.write([LINE]);
    await new Promise(setImmediate);

    expect(stream.destroyed).toBe(false);
    expect([sink.isClosed, sink.errorCode, sink.isFull]).toEqual([true, "EPIPE", false]);
  });

  test("bears errors that come after the last watcher has left", async () => {
    const stream = new PassThrough();
    const sink = new LineSink(stream);
    const watcher = vi.fn();
    sink.watch(watcher)();
    stream.destroy(Object.assign(new Error("gone"), { code: "ECONNRESET" }));
    await expect.poll(() => sink.isClosed).toBe(true);

    expect(sink.errorCode).toBe("ECONNRESET");
    expect(watcher).not.toHaveBeenCalled();
  });

  test("ends the stream behind what was written, and takes nothing afterwards", async () => {
    const stream = new PassThrough();
    const sink = new LineSink(stream);
    sink.write([LINE, LINE]);
    sink.end();
    sink.end();
    sink.write([LINE]);

    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("line\nline\n");
    expect(sink.isClosed).toBe(true);
  });

  test("is closed from the start on a stream that is", () => {
    const ended = new PassThrough();
    ended.end();

    expect(new LineSink(ended).isClosed).toBe(true);
    expect(new LineSink(new PassThrough()).isClosed).toBe(false);
  });

  test("keeps one listener of a kind on its stream, however many watch it", () => {
    const stream = new PassThrough();
    const before =
      stream.listenerCount("error") + stream.listenerCount("drain") + stream.listenerCount("close");
    const sink = new LineSink(stream);
    for (let count = 0; count < 50; count++) sink.watch(() => undefined);

    expect(
      stream.listenerCount("error") + stream.listenerCount("drain") + stream.listenerCount("close"),
    ).toBe(before + 3);
  });
});

import { PassThrough, Transform } from "node:stream";
import { describe, expect, it } from "vitest";
import { ByteRelay } from "../../src/launch/byte-relay.ts";
import { until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

/** Holds one byte back, as the scrubber does. */
function holding(): Transform {
  let held = Buffer.alloc(0);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const all = Buffer.concat([held, chunk]);
      held = all.subarray(-1);
      done(null, all.subarray(0, -1));
    },
    flush(done) {
      done(null, held);
    },
  });
}

function relay(whenReaderGone: "close-source" | "discard" = "discard", sink = new PassThrough()) {
  const source = new PassThrough();
  return { source, sink, relay: new ByteRelay({ source, transform: holding(), sink, whenReaderGone }) };
}

describe("a relay of bytes", () => {
  it("ends when everything is written, and leaves our stream open", async () => {
    const { source, sink, relay: it } = relay();
    const text = collected(sink);

    source.write("abc");
    source.end("def");
    await it.done;

    expect(text()).toBe("abcdef");
    expect(sink.writableEnded).toBe(false);
  });

  it("writes what was held back when its source breaks", async () => {
    const { source, sink, relay: it } = relay();
    const text = collected(sink);
    source.write("abc");
    await until("it is relayed", () => text() === "ab");

    source.destroy(Object.assign(new Error("read EIO"), { code: "EIO" }));
    await it.done;

    expect(text()).toBe("abc");
  });

  it("writes what it has read when it is cut", async () => {
    const { source, sink, relay: it } = relay();
    const text = collected(sink);
    source.write("abc");
    await until("it is relayed", () => text() === "ab");

    it.cut();
    await it.done;

    expect(text()).toBe("abc");
    expect(source.destroyed).toBe(true);
  });

  it("knows when our reader is the one who is waited for", async () => {
    const { source, sink, relay: it } = relay("discard", new PassThrough({ highWaterMark: 1 }));

    source.end("abcdef");
    await new Promise((resolve) => setImmediate(resolve));
    expect(it.isBlocked).toBe(true);
    sink.resume();
    await it.done;

    expect(it.isBlocked).toBe(false);
  });

  it.each([
    ["close-source", true],
    ["discard", false],
  ] as const)("by %s closes the source when the reader has gone: %s", async (whenReaderGone, closes) => {
    const { source, sink, relay: it } = relay(whenReaderGone);

    sink.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    await it.done;

    expect(source.destroyed).toBe(closes);
    if (!closes) source.end("nobody reads this");
  });

  it("is over at once where the reader had gone before", async () => {
    const sink = new PassThrough();
    sink.destroy();

    await expect(relay("discard", sink).relay.done).resolves.toBeUndefined();
  });
});

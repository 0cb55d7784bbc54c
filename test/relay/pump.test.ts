import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { afterEach, describe, expect, test } from "vitest";
import type { Line, OverlongLine } from "../../src/relay/line.ts";
import { LineSink } from "../../src/relay/line-sink.ts";
import { type PumpOptions, pumpLines } from "../../src/relay/pump.ts";

const MIB = 1_048_576;
const KIB64 = 65_536;

/** A writable that keeps everything, and takes it at once. */
function collector(): { readonly stream: Writable; text(): string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

function pump(source: Readable, sink: Writable | LineSink, options: Partial<PumpOptions> = {}) {
  const lineSink = sink instanceof LineSink ? sink : new LineSink(sink);
  return pumpLines(source, lineSink, { maxLineBytes: 64 * MIB, ...options });
}

function listenersOf(source: Readable): number {
  return ["data", "end", "close", "error"].reduce((sum, name) => sum + source.listenerCount(name), 0);
}

describe("pumpLines", () => {
  const children: ChildProcess[] = [];

  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });

  function run(script: string): ChildProcess & { stdin: Writable; stdout: Readable } {
    const child = spawn(process.execPath, ["-e", script], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    return child as ChildProcess & { stdin: Writable; stdout: Readable };
  }

  test("passes every line unchanged and drops the torn tail", async () => {
    const { stream, text } = collector();
    const chunks = ['{"id":1', '}\r\n\nnot JSON\n{"a"', ':"ż"}\ntorn'].map((chunk) => Buffer.from(chunk));

    const end = await pump(Readable.from(chunks), stream);

    expect(text()).toBe('{"id":1}\r\n\nnot JSON\n{"a":"ż"}\n');
    expect(end).toEqual({ type: "source-ended", tornBytes: 4 });
  });

  test("shows each line before the reader can have it", async () => {
    const order: string[] = [];
    const sink = new Writable({
      write(chunk, _encoding, done) {
        order.push(`out ${chunk}`);
        done();
      },
    });
    const onLine = (line: Line) => order.push(`line ${line.bytes} ${line.envelope.type}`);

    await pump(Readable.from([Buffer.from('{"method":"a"}\nx\n')]), sink, { onLine });

    expect(order).toEqual([
      'line {"method":"a"}\n notification',
      "line x\n opaque",
      'out {"method":"a"}\nx\n',
    ]);
  });

  test("writes the lines of a chunk at once", async () => {
    const writes: number[] = [];
    const sink = new Writable({
      write(chunk, _encoding, done) {
        writes.push(chunk.length);
        done();
      },
    });
    const chunk = Buffer.from('{"id":1,"result":{}}\n'.repeat(1000));
    let lines = 0;

    await pump(Readable.from([chunk, chunk]), sink, { onLine: () => lines++ });

    expect(lines).toBe(2000);
    expect(writes).toEqual([chunk.length, chunk.length]);
  });

  test("hands a line that came in pieces over in one system call", async () => {
    const batches: number[] = [];
    const sink = new Writable({
      writev(chunks, done) {
        batches.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0));
        done();
      },
    });
    const piece = Buffer.alloc(KIB64, 0x78);

    await pump(Readable.from([piece, piece, Buffer.from("\nnext\n")]), sink);

    expect(batches).toEqual([2 * KIB64 + 6]);
  });

  test("gives lines before the first message to onNoise, and none later", async () => {
    const { stream, text } = collector();
    const noise: string[] = [];
    const lines: string[] = [];
    const message = '{"method":"notifications/message"}\n';

    await pump(
      Readable.from([Buffer.from(`Starting…\n\n{"level":"info"}\n${message}noise later\n`)]),
      stream,
      {
        onNoise: (line) => noise.push(line.toString()),
        onLine: (line) => lines.push(line.bytes.toString()),
      },
    );

    expect(noise).toEqual(["Starting…\n", "\n", '{"level":"info"}\n']);
    expect(text()).toBe(`${message}noise later\n`);
    expect(lines).toEqual([message, "noise later\n"]);
  });

  test("reports an overlong line, passes its neighbours, and lets another writer answer between lines", async () => {
    const { stream, text } = collector();
    const sink = new LineSink(stream);
    const overlong: OverlongLine[] = [];
    const long = `{"result":"${"x".repeat(100)}","id":7}\n`;

    await pump(
      Readable.from([Buffer.from('{"id":1,"result":1}\n'), Buffer.from(`${long}{"id":2,"result":2}\n`)]),
      sink,
      {
        maxLineBytes: 50,
        onOverlong: (line) => {
          overlong.push(line);
          sink.write([Buffer.from("answer\n")]);
        },
      },
    );

    expect(overlong).toEqual([
      { length: long.length, envelope: { type: "response", id: "7", isError: false } },
    ]);
    expect(text()).toBe('{"id":1,"result":1}\nanswer\n{"id":2,"result":2}\n');
  });

  test("mixes two writers by whole lines only, also when the reader is slow", async () => {
    const { stream, text } = collector();
    const slow = new PassThrough({ highWaterMark: 100 });
    const sink = new LineSink(slow);
    const line = `${"p".repeat(150_000)}\n`;
    const source = Readable.from(
      Array.from({ length: 40 }, () =>
        [line.slice(0, 70_000), line.slice(70_000)].map((part) => Buffer.from(part)),
      ).flat(),
    );
    const timer = setInterval(() => sink.write([Buffer.from("other "), Buffer.from("writer\n")]), 1);
    const collected = (async () => {
      for await (const chunk of slow) {
        stream.write(chunk);
        await new Promise(setImmediate);
      }
    })();

    await pump(source, sink);
    clearInterval(timer);
    sink.end();
    await collected;

    const lines = text().split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.filter((one) => `${one}\n` === line)).toHaveLength(40);
    expect(lines.every((one) => `${one}\n` === line || one === "other writer")).toBe(true);
  });

  describe("with a reader that is slower than the source", () => {
    /** The most bytes that were between the source and the reader at any time. */
    async function mostQueued(chunks: Iterable<Buffer>, options: Partial<PumpOptions> = {}): Promise<number> {
      let produced = 0;
      let consumed = 0;
      let most = 0;
      const source = Readable.from(
        (function* () {
          for (const chunk of chunks) {
            produced += chunk.length;
            most = Math.max(most, produced - consumed);
            yield chunk;
          }
        })(),
        { highWaterMark: 1 },
      );
      const sink = new Writable({
        write(chunk, _encoding, done) {
          setImmediate(() => {
            consumed += chunk.length;
            done();
          });
        },
      });
      const end = await pump(source, sink, options);
      expect(end).toEqual({ type: "source-ended", tornBytes: 0 });
      expect(consumed).toBe(produced);
      return most;
    }

    test("passes 1 GiB of short lines with a few chunks in memory", async () => {
      const chunk = Buffer.from(`${"x".repeat(127)}\n`.repeat(KIB64 / 128));
      let lines = 0;
      const most = await mostQueued(repeated(chunk, 16_384), { onLine: () => lines++ });

      expect(lines).toBe(2 ** 30 / 128);
      expect(most).toBeLessThanOrEqual(5 * KIB64);
    });

    test("passes lines of 8 MiB with one line and a little of the next in memory", async () => {
      const body = Buffer.alloc(KIB64, 0x78);
      const last = Buffer.alloc(KIB64, 0x78);
      last[KIB64 - 1] = 0x0a;
      const chunks = Array.from({ length: 32 }, () => [...Array(127).fill(body), last]).flat();
      const most = await mostQueued(chunks, { maxLineBytes: 8 * MIB });

      expect(most).toBeLessThanOrEqual(8 * MIB + MIB + 4 * KIB64);
    });

    test("waits for a reader that takes nothing, and goes on when it does", async () => {
      const reader = new PassThrough({ highWaterMark: 1024 });
      let produced = 0;
      const source = Readable.from(
        (function* () {
          for (let count = 0; count < 200; count++) {
            produced++;
            yield Buffer.alloc(KIB64, "0123456789abcde\n");
          }
        })(),
        { highWaterMark: 1 },
      );
      const ended = pump(source, reader);
      await expect.poll(() => source.isPaused()).toBe(true);
      const producedWhileStuck = produced;

      let bytes = 0;
      reader.on("data", (chunk) => {
        bytes += chunk.length;
      });
      await ended;

      expect(producedWhileStuck).toBeLessThan(10);
      expect(bytes).toBe(200 * KIB64);
    });
  });

  test("ends with the reader, by its error", async () => {
    const sink = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error("gone"), { code: "EPIPE" }));
      },
    });
    const source = new PassThrough();
    const ended = pump(source, sink);
    source.write("one\ntwo");

    expect(await ended).toEqual({ type: "sink-closed", errorCode: "EPIPE", tornBytes: 3 });
    expect(listenersOf(source)).toBe(listenersOf(new PassThrough()));
    expect(source.destroyed).toBe(false);
  });

  test("ends with a reader that has been destroyed while it was waited for", async () => {
    const reader = new PassThrough({ highWaterMark: 1 });
    const source = new PassThrough();
    const ended = pump(source, reader);
    source.write("one\ntwo\n");
    await expect.poll(() => reader.writableLength).toBeGreaterThan(0);
    reader.destroy();

    expect(await ended).toMatchObject({ type: "sink-closed" });
  });

  test("ends at once where the reader or the source has gone before", async () => {
    const deadSink = new PassThrough();
    deadSink.destroy();
    const deadSource = new PassThrough();
    deadSource.destroy();
    const endedSource = Readable.from([]);
    for await (const _ of endedSource);

    expect(await pump(new PassThrough(), deadSink)).toEqual({ type: "sink-closed", tornBytes: 0 });
    expect(await pump(deadSource, new PassThrough())).toEqual({ type: "source-ended", tornBytes: 0 });
    expect(await pump(endedSource, new PassThrough())).toEqual({ type: "source-ended", tornBytes: 0 });
  });

  test("takes a failing source for an ended one", async () => {
    const { stream, text } = collector();
    const source = new PassThrough();
    const ended = pump(source, stream);
    source.write("one\nto");
    await expect.poll(() => text()).toBe("one\n");
    source.destroy(Object.assign(new Error("broken"), { code: "EIO" }));

    expect(await ended).toEqual({ type: "source-ended", errorCode: "EIO", tornBytes: 2 });
  });

  test("takes a source that is destroyed without a word for an ended one", async () => {
    const source = new PassThrough();
    const ended = pump(source, new PassThrough());
    source.destroy();

    expect(await ended).toEqual({ type: "source-ended", tornBytes: 0 });
  });

  test("can be aborted at any time, with nothing left behind", async () => {
    const controller = new AbortController();
    const source = new PassThrough();
    const { stream, text } = collector();
    const ended = pump(source, stream, { signal: controller.signal });
    source.write("one\ntorn");
    await expect.poll(() => text()).toBe("one\n");
    controller.abort();

    expect(await ended).toEqual({ type: "aborted", tornBytes: 4 });
    expect(listenersOf(source)).toBe(listenersOf(new PassThrough()));
    expect(source.isPaused()).toBe(true);
    expect(await pump(new PassThrough(), stream, { signal: controller.signal })).toEqual({
      type: "aborted",
      tornBytes: 0,
    });
  });

  test("leaves what it has not read to the next pump", async () => {
    const controller = new AbortController();
    const source = new PassThrough();
    const first = collector();
    const second = collector();
    const ended = pump(source, first.stream, { signal: controller.signal });
    source.write("one\n");
    await expect.poll(() => first.text()).toBe("one\n");
    controller.abort();
    await ended;
    source.end("two\n");
    await pump(source, second.stream);

    expect(first.text()).toBe("one\n");
    expect(second.text()).toBe("two\n");
  });

  test("ends when a real process closes its stdin and lives on", async () => {
    const child = run("require('fs').closeSync(0); setInterval(() => {}, 1000)");
    const source = Readable.from(repeated(Buffer.alloc(KIB64, "line\n..."), Number.POSITIVE_INFINITY));

    const end = await pump(source, child.stdin);

    expect(end.type).toBe("sink-closed");
    expect(["EPIPE", "ECONNRESET"]).toContain(end.errorCode);
    expect(child.exitCode).toBeNull();
  });

  test("ends when a real process that reads nothing is killed", async () => {
    const child = run("setInterval(() => {}, 1000)");
    const source = Readable.from(repeated(Buffer.alloc(KIB64, "line\n..."), Number.POSITIVE_INFINITY));
    const ended = pump(source, child.stdin);
    await expect.poll(() => source.isPaused()).toBe(true);
    child.kill("SIGKILL");

    expect((await ended).type).toBe("sink-closed");
  });

  test("passes all that a real process wrote before it exited, to a slow reader", async () => {
    const child = run("process.stdout.write(('x'.repeat(99999) + '\\n').repeat(80) + 'torn')");
    let bytes = 0;
    const slow = new Writable({
      write(chunk, _encoding, done) {
        bytes += chunk.length;
        setTimeout(done, 1);
      },
    });

    const end = await pump(child.stdout, slow);

    expect(end).toEqual({ type: "source-ended", tornBytes: 4 });
    expect(bytes).toBe(8_000_000);
  });
});

function* repeated(chunk: Buffer, times: number): Generator<Buffer> {
  for (let count = 0; count < times; count++) yield chunk;
}

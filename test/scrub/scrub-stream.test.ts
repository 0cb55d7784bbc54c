import { spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, test } from "vitest";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { ScrubStream, scrubText } from "../../src/scrub/scrub-stream.ts";
import { Secret } from "../../src/secrets/secret.ts";

function canaries(): NeedleSet {
  const set = new NeedleSet();
  set.add("A", new Secret("canary-7f3a"));
  return set;
}

function collector(): { sink: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { sink, text: () => Buffer.concat(chunks).toString() };
}

describe("a scrub stream", () => {
  test("hides what a real child writes to its stderr in two halves, and ends after the last byte", async () => {
    const script = `process.stderr.write("a canary-"); setImmediate(() => process.stderr.write("7f3a\\nlast cana"))`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "ignore", "pipe"] });
    const { sink, text } = collector();

    await pipeline(child.stderr, new ScrubStream(canaries()), sink);

    expect(text()).toBe("a [mcp-run:A]\nlast cana");
  });

  test("shows a prompt at once", async () => {
    const stream = new ScrubStream(canaries());
    stream.write("password: ");
    expect(String(stream.read())).toBe("password: ");
  });

  test("asks its writer to wait while nobody reads, and goes on once somebody does", async () => {
    const stream = new ScrubStream(canaries());
    let written = 0;
    do written += 65_536;
    while (stream.write(Buffer.alloc(65_536, "text ")) && written < 10_000_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBeLessThan(1_000_000);
    expect(stream.writableNeedDrain).toBe(true);

    let read = 0;
    stream.on("data", (chunk: Buffer) => {
      read += chunk.length;
    });
    await once(stream, "drain");
    stream.end();
    await once(stream, "end");
    expect(read).toBe(written);
  });

  test("passes every byte on to a slow reader", async () => {
    const parts = Array.from({ length: 200 }, (_, index) => `${index} canary-7f3a ${"x".repeat(5000)}\n`);
    const chunks: string[] = [];
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        chunks.push(String(chunk));
        setImmediate(done);
      },
    });

    await pipeline(Readable.from(parts), new ScrubStream(canaries()), slow);

    expect(chunks.join("")).toBe(parts.join("").replaceAll("canary-7f3a", "[mcp-run:A]"));
  });

  test("passes the error of its destination on", async () => {
    const broken = new Writable({
      write(_chunk, _encoding, done) {
        done(new Error("disk full"));
      },
    });
    const source = Readable.from(["a canary-7f3a\n"]);

    await expect(pipeline(source, new ScrubStream(canaries()), broken)).rejects.toThrow("disk full");
    expect(source.destroyed).toBe(true);
  });

  test("passes the error of its source on", async () => {
    const source = new PassThrough();
    const { sink } = collector();
    const done = pipeline(source, new ScrubStream(canaries()), sink);
    source.destroy(new Error("torn"));
    await expect(done).rejects.toThrow("torn");
  });
});

describe("scrubText", () => {
  test("hides every secret of a text", () => {
    expect(scrubText("a canary-7f3a, Y2FuYXJ5LTdmM2E= b", canaries())).toBe("a [mcp-run:A], [mcp-run:A] b");
  });

  test("hides a long piece of a secret where the text was cut", () => {
    expect(scrubText("it said: canary-7", canaries())).toBe("it said: [mcp-run:A]");
  });

  test("leaves a text without secrets alone", () => {
    expect(scrubText("Cannot start: näh", new NeedleSet())).toBe("Cannot start: näh");
    expect(scrubText("", canaries())).toBe("");
  });
});

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { OverlongLine } from "../../src/relay/line.ts";
import { LineSplitter } from "../../src/relay/line-splitter.ts";

const MIB = 1_048_576;

interface Run {
  /** What came out, as one text. */
  readonly out: string;
  readonly lines: string[];
  readonly overlong: OverlongLine[];
  readonly tornBytes: number;
}

/** Pushes the pieces; `accept` decides line by line, without it the splitter does not look at lines. */
function split(pieces: readonly Buffer[], maxLineBytes: number, accept?: (line: string) => boolean): Run {
  const lines: string[] = [];
  const overlong: OverlongLine[] = [];
  const onLine =
    accept &&
    ((line: { bytes: Buffer }) => {
      lines.push(line.bytes.toString());
      return accept(line.bytes.toString());
    });
  const splitter = new LineSplitter({ maxLineBytes, onLine, onOverlong: (line) => overlong.push(line) });
  const out = pieces.flatMap((piece) => {
    const buffers = splitter.push(piece);
    const last = buffers.at(-1);
    if (last) expect(last.at(-1)).toBe(0x0a);
    return buffers;
  });
  return { out: Buffer.concat(out).toString(), lines, overlong, tornBytes: splitter.tornBytes };
}

/** What has to come out, by way of String.split. */
function reference(text: string, maxLineBytes: number, accept: (line: string) => boolean = () => true) {
  const parts = text.split("\n");
  const tail = parts.pop() ?? "";
  const whole = parts.map((part) => `${part}\n`);
  const lines = whole.filter((line) => Buffer.byteLength(line) <= maxLineBytes);
  return {
    out: lines.filter(accept).join(""),
    lines,
    overlong: whole.map((line) => Buffer.byteLength(line)).filter((length) => length > maxLineBytes),
    tornBytes: Buffer.byteLength(tail),
  };
}

function expectLike(run: Run, text: string, maxLineBytes: number, accept?: (line: string) => boolean): void {
  const expected = reference(text, maxLineBytes, accept);
  expect(run.out).toBe(expected.out);
  if (accept) expect(run.lines).toEqual(expected.lines);
  expect(run.overlong.map((line) => line.length)).toEqual(expected.overlong);
  expect(run.tornBytes).toBe(expected.tornBytes);
}

describe("LineSplitter", () => {
  const texts = [
    ["nothing", ""],
    ["one line", "one\n"],
    ["several lines", "one\ntwo\nthree\n"],
    ["empty lines", "\n\n\n"],
    ["CRLF", "one\r\ntwo\r\n"],
    ["a torn tail", "one\ntwo"],
    ["a tail alone", "torn"],
    ["characters of several bytes", "żółw\n🐢\n"],
    ["bytes that look like a newline in UTF-16", "\u0a0a\u0d0a\n"],
    ["a line of exactly the bound", "123456789012345\nafter\n"],
    ["a line one byte above the bound", "before\n1234567890123456\nafter\n"],
    ["a long line first and last", `${"a".repeat(50)}\nok\n${"b".repeat(50)}\n`],
    ["two long lines in a row", `${"a".repeat(40)}\n${"b".repeat(40)}\nok\n`],
    ["a torn long line", `ok\n${"a".repeat(50)}`],
  ] as const;

  test.each(texts)("passes %s byte for byte: whole, byte by byte, and cut anywhere", (_name, text) => {
    const bytes = Buffer.from(text);
    for (const accept of [undefined, () => true]) {
      expectLike(split([bytes], 16, accept), text, 16, accept);
      expectLike(
        split(
          Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)),
          16,
          accept,
        ),
        text,
        16,
        accept,
      );
      for (let cut = 0; cut <= bytes.length; cut++) {
        expectLike(split([bytes.subarray(0, cut), bytes.subarray(cut)], 16, accept), text, 16, accept);
      }
    }
  });

  test("passes any lines in any pieces, less those that are refused or too long", () => {
    const line = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.constant("drop me"),
    );
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 30 }),
        fc.array(fc.nat()),
        fc.boolean(),
        (lines, cuts, looks) => {
          const text = lines.join("\n");
          const bytes = Buffer.from(text);
          const places = [
            0,
            ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
            bytes.length,
          ];
          const pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
          const accept = looks ? (whole: string) => whole !== "drop me\n" : undefined;

          expectLike(split(pieces, 20, accept), bytes.toString(), 20, accept);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("gives the lines of one chunk as that chunk, uncopied", () => {
    const chunk = Buffer.from("one\ntwo\nthree\n");
    const splitter = new LineSplitter({ maxLineBytes: 100, onLine: () => true });

    expect(splitter.push(chunk)).toEqual([chunk]);
    expect(splitter.push(chunk)[0]).toBe(chunk);
  });

  test("passes a line of 64 MiB that comes in 64 KiB chunks without copying a chunk", () => {
    const chunks = Array.from({ length: 1024 }, () => Buffer.alloc(65_536, 0x78));
    chunks.at(-1)!.write("\n", 65_535);
    const splitter = new LineSplitter({ maxLineBytes: 64 * MIB });

    const out = chunks.flatMap((chunk) => splitter.push(chunk));

    expect(out).toHaveLength(1024);
    expect(out.every((piece, index) => piece.buffer === chunks[index]!.buffer)).toBe(true);
    expect(splitter.tornBytes).toBe(0);
  });

  test("passes a long line that comes in single bytes in few pieces", () => {
    const line = Buffer.from(`${"abcdefghij".repeat(20_000)}\n`);
    const splitter = new LineSplitter({ maxLineBytes: MIB });

    const out = Array.from(line, (_, at) => splitter.push(line.subarray(at, at + 1))).flat();

    expect(out.length).toBeLessThan(30);
    expect(Buffer.concat(out).equals(line)).toBe(true);
  });

  test("reports what an overlong line was, wherever its id stands", () => {
    const filler = "x".repeat(200);
    const request = `{"jsonrpc":"2.0","id":"a1","method":"tools/call","params":"${filler}"}\n`;
    const answer = `{"result":{"text":"${filler}"},"jsonrpc":"2.0","id":42}\n`;
    const text = `${request}{"id":1}\n${answer}${filler}\nlast\n`;
    const bytes = Buffer.from(text);
    const expected = [
      { length: request.length, envelope: { type: "request", id: '"a1"', method: "tools/call" } },
      { length: answer.length, envelope: { type: "response", id: "42", isError: false } },
      { length: filler.length + 1, envelope: { type: "opaque" } },
    ];

    for (const size of [1, 7, 64, bytes.length]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const run = split(pieces, 100);
      expect(run.overlong).toEqual(expected);
      expect(run.out).toBe('{"id":1}\nlast\n');
    }
  });

  test("keeps nothing of an overlong line while it comes", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const splitter = new LineSplitter({ maxLineBytes: MIB });
    const chunks = Array.from({ length: 64 }, () => {
      const chunk = Buffer.alloc(65_536, 0x78);
      splitter.push(chunk);
      return new WeakRef(chunk.buffer);
    });

    expect(splitter.tornBytes).toBe(4 * MIB);
    await vi.waitFor(() => {
      collectGarbage();
      expect(chunks.filter((chunk) => chunk.deref() !== undefined)).toHaveLength(0);
    }, 30_000);
  });
});

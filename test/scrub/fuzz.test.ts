import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Matcher } from "../../src/scrub/matcher.ts";
import type { Needle } from "../../src/scrub/needle-table.ts";
import { Scrubber, type Tuning } from "../../src/scrub/scrubber.ts";
import { chunked, fixedNeedles, type KnownFrom, maskedByBruteForce, named, scrubbed } from "./oracle.ts";

/** Few letters, so that needles overlap each other and themselves; the last one makes masks clash. */
const ALPHABETS = ["a", "ab", "abc", "mcp-run:[]"];
const LENGTHS = [
  { least: 4, most: 7 },
  { least: 4, most: 40 },
  { least: 11, most: 30 },
  { least: 35, most: 90 },
];
const RUNS = { numRuns: 400 };

const tunings = fc.record<Tuning>({
  smallChunk: fc.constantFrom(0, 0, 8, 2048),
  firstBytes: fc.constantFrom(0, 0, 20),
  comparisons: fc.constantFrom(-1, 10, 100, 1_000_000),
  automatonBytes: fc.constantFrom(1, 7, 50, 1000),
});
const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 5 });

function word(alphabet: string, least: number, most: number): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...alphabet), { minLength: least, maxLength: most })
    .map((letters) => letters.join(""));
}

/** Needles, and a stream of them, of pieces of them, and of other letters. */
function needlesAndStream(alphabet: string, least: number, most: number) {
  const piece = fc.record({ needle: fc.nat(50), from: fc.nat(3), length: fc.integer({ min: 1, max: 100 }) });
  return fc
    .record({
      values: fc.uniqueArray(word(alphabet, least, most), { minLength: 1, maxLength: 8 }),
      parts: fc.array(fc.oneof(word(alphabet, 1, 12), piece), { maxLength: 30 }),
    })
    .map(({ values, parts }) => {
      const text = parts.map((part) => {
        if (typeof part === "string") return part;
        return values[part.needle % values.length]!.slice(part.from, part.from + part.length);
      });
      return { needles: named(...values), stream: Buffer.from(text.join("")) };
    });
}

describe.each(ALPHABETS)("on streams of the letters %s", (alphabet) => {
  describe.each(LENGTHS)("with needles of $least to $most bytes", ({ least, most }) => {
    test("the scrubber gives what brute force gives, however the stream is cut", () => {
      fc.assert(
        fc.property(
          needlesAndStream(alphabet, least, most),
          cuts,
          tunings,
          ({ needles, stream }, lengths, tuning) => {
            const wanted = maskedByBruteForce(stream, needles).toString();
            const out = scrubbed(fixedNeedles(needles), chunked(stream, lengths), tuning).toString();
            expect(out).toBe(wanted);
          },
        ),
        RUNS,
      );
    });

    test("no needle comes out, not even with the help of a mask", () => {
      fc.assert(
        fc.property(needlesAndStream(alphabet, least, most), cuts, ({ needles, stream }, lengths) => {
          const out = scrubbed(fixedNeedles(needles), chunked(stream, lengths));
          for (const { bytes } of needles) expect(out.includes(Buffer.from(bytes))).toBe(false);
        }),
        RUNS,
      );
    });

    test("exactly the longest suffix that could become a needle is held", () => {
      fc.assert(
        fc.property(
          needlesAndStream(alphabet, least, most),
          cuts,
          tunings,
          ({ needles, stream }, lengths, tuning) => {
            const scrubber = new Scrubber(fixedNeedles(needles), tuning);
            let pushed = 0;
            for (const chunk of chunked(stream, lengths)) {
              scrubber.push(chunk);
              pushed += chunk.length;
              expect(scrubber.heldBytes).toBe(longestOpenSuffix(stream.subarray(0, pushed), needles));
            }
          },
        ),
        RUNS,
      );
    });
  });
});

test("needles that are added while the stream runs count from what was held at that moment on", () => {
  fc.assert(
    fc.property(
      needlesAndStream("ab", 4, 12),
      cuts,
      tunings,
      fc.array(fc.nat(30), { minLength: 8, maxLength: 8 }),
      ({ needles, stream }, lengths, tuning, arrivals) => {
        const known: KnownFrom = needles.map(() => Number.POSITIVE_INFINITY);
        let matcher = new Matcher([]);
        const scrubber = new Scrubber({ matcher: () => matcher }, tuning);
        const out: Buffer[] = [];
        let pushed = 0;
        const learn = (isDue: (needle: number) => boolean) => {
          const due = needles
            .map((_, needle) => needle)
            .filter((needle) => known[needle] === Infinity && isDue(needle));
          if (due.length === 0) return;
          for (const needle of due) known[needle] = pushed - scrubber.heldBytes;
          matcher = new Matcher(needles.filter((_, needle) => known[needle] !== Infinity));
        };

        for (const [turn, chunk] of chunked(stream, lengths).entries()) {
          learn((needle) => arrivals[needle]! <= turn);
          for (const piece of scrubber.push(chunk)) out.push(Buffer.from(piece));
          pushed += chunk.length;
        }
        learn(() => true);
        out.push(...scrubber.end().map((piece) => Buffer.from(piece)));

        expect(Buffer.concat(out).toString()).toBe(maskedByBruteForce(stream, needles, known).toString());
      },
    ),
    { numRuns: 3000 },
  );
});

test("long needles among arbitrary bytes come out masked, however the stream is cut", () => {
  const bytes = fc.uint8Array({ minLength: 4, maxLength: 300 });
  fc.assert(
    fc.property(
      fc.uniqueArray(bytes, { minLength: 1, maxLength: 5, selector: String }),
      fc.array(fc.oneof(bytes, fc.nat(4)), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 }),
      tunings,
      (values, parts, lengths, tuning) => {
        const needles = named(...values);
        const stream = Buffer.concat(
          parts.map((part) => (typeof part === "number" ? values[part % values.length]! : part)),
        );
        const out = scrubbed(fixedNeedles(needles), chunked(stream, lengths), tuning);
        expect(out).toEqual(maskedByBruteForce(stream, needles));
      },
    ),
    { numRuns: 1000 },
  );
});

function longestOpenSuffix(text: Buffer, needles: readonly Needle[]): number {
  for (let length = text.length; length > 0; length--) {
    const suffix = text.subarray(text.length - length);
    const isOpen = needles.some(
      ({ bytes }) => bytes.length > length && suffix.equals(bytes.subarray(0, length)),
    );
    if (isOpen) return length;
  }
  return 0;
}

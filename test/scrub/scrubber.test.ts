import { randomBytes } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { Scrubber, type Tuning } from "../../src/scrub/scrubber.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { everyCut, fixedNeedles, maskedByBruteForce, named, scrubbed } from "./oracle.ts";

/** Each case runs with each of the three searches doing the work. */
const SEARCHES: Record<string, Tuning> = {
  "byte by byte": { smallChunk: 1e9, firstBytes: 0, comparisons: 1e9, automatonBytes: 1 },
  "by windows": { smallChunk: 0, firstBytes: 0, comparisons: 1e9, automatonBytes: 1 },
  "by automaton": { smallChunk: 0, firstBytes: 0, comparisons: -1, automatonBytes: 1e9 },
  "by windows and automaton in turn": { smallChunk: 0, firstBytes: 0, comparisons: 6, automatonBytes: 3 },
};

interface Case {
  readonly says: string;
  readonly secrets: Readonly<Record<string, string>>;
  readonly stream: string | Buffer;
  readonly gives: string | Buffer;
}

const PEM = [
  "-----BEGIN PRIVATE KEY-----",
  "canaryMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9",
  "Us8cKjMzEfYyjiWA4R4ypbHqGC0H0gZQ9s3h8h1n0Zkx8m2Yc3aQ==",
  "-----END PRIVATE KEY-----",
  "",
].join("\n");
const PEM_LINES = PEM.trim().split("\n");

const CASES: readonly Case[] = [
  { says: "nothing to hide", secrets: { A: "canary-7f3a" }, stream: "plain text\n", gives: "plain text\n" },
  { says: "no secrets", secrets: {}, stream: "plain text\n", gives: "plain text\n" },
  {
    says: "one secret",
    secrets: { TOKEN: "canary-7f3a" },
    stream: "token canary-7f3a ok\n",
    gives: "token [mcp-run:TOKEN] ok\n",
  },
  {
    says: "a secret inside a longer one, the longer one first",
    secrets: { LONG: "ipsum dolor", SHORT: "dolor" },
    stream: "Lorem ipsum dolor sit; dolor\n",
    gives: "Lorem [mcp-run:LONG] sit; [mcp-run:SHORT]\n",
  },
  {
    says: "a secret inside a longer one, the shorter one first",
    secrets: { SHORT: "dolor", LONG: "ipsum dolor" },
    stream: "Lorem ipsum dolor sit; dolor\n",
    gives: "Lorem [mcp-run:LONG] sit; [mcp-run:SHORT]\n",
  },
  {
    says: "overlapping secrets",
    secrets: { A: "ipsum dolor", B: "dolor sit" },
    stream: "Lorem ipsum dolor sit amet\n",
    gives: "Lorem [mcp-run:A] amet\n",
  },
  {
    says: "a second match that fails after a third began",
    secrets: { A: "canary", B: "canary-two-three", C: "three-four" },
    stream: "canary-two-three-fou canary-two-thr three-four\n",
    gives: "[mcp-run:B]-fou [mcp-run:A]-two-thr [mcp-run:C]\n",
  },
  {
    says: "a long near-miss that contains two hits",
    secrets: { LONG: "begin-one1-and-two2-end", ONE: "one1", TWO: "two2" },
    stream: "begin-one1-and-two2-enX\n",
    gives: "begin-[mcp-run:ONE]-and-[mcp-run:TWO]-enX\n",
  },
  {
    says: "seven nested secrets",
    secrets: Object.fromEntries(
      [0, 1, 2, 3, 4, 5, 6].map((depth) => [`D${depth}`, `${"<".repeat(depth)}core${">".repeat(depth)}`]),
    ),
    stream: "x<<<core>>>y <<<<<<core>>>>>> core\n",
    gives: "x[mcp-run:D3]y [mcp-run:D6] [mcp-run:D0]\n",
  },
  {
    says: "ÿ beside other bytes",
    secrets: { A: "ÿÿÿÿ" },
    stream: Buffer.concat([Buffer.from("ÿÿÿÿ"), Buffer.from([0xff, 0xc3]), Buffer.from("ÿÿÿÿ")]),
    gives: Buffer.concat([Buffer.from("[mcp-run:A]"), Buffer.from([0xff, 0xc3]), Buffer.from("[mcp-run:A]")]),
  },
  {
    says: "a PEM as it is",
    secrets: { KEY: PEM },
    stream: `key:\n${PEM}done\n`,
    gives: "key:\n[mcp-run:KEY]done\n",
  },
  {
    says: "a PEM without its last newline",
    secrets: { KEY: PEM },
    stream: `key: ${PEM.trim()}.`,
    gives: "key: [mcp-run:KEY].",
  },
  {
    says: "a PEM with CRLF",
    secrets: { KEY: PEM },
    stream: `key: ${PEM_LINES.join("\r\n")}.`,
    gives: "key: [mcp-run:KEY].",
  },
  {
    says: "a PEM with CR CR LF",
    secrets: { KEY: PEM },
    stream: `key: ${PEM_LINES.join("\r\r\n")}.`,
    gives: "key: [mcp-run:KEY].",
  },
  {
    says: "a PEM with blanks for newlines",
    secrets: { KEY: PEM },
    stream: `key: ${PEM_LINES.join(" ")}.`,
    gives: "key: [mcp-run:KEY].",
  },
  {
    says: "every line of a multi-line value by itself",
    secrets: { KEY: PEM },
    stream: PEM_LINES.map((line) => `> ${line}\n`).join(""),
    gives: PEM_LINES.map(() => "> [mcp-run:KEY]\n").join(""),
  },
  {
    says: "a short last line, raw and escaped",
    secrets: { A: "secret\n1" },
    stream: "(secret\n1) (secret\\n1) (secret\\\\n1)\n",
    gives: "([mcp-run:A]) ([mcp-run:A]) ([mcp-run:A])\n",
  },
  {
    says: "real line breaks for a value that holds \\n",
    secrets: { A: "line-one\\nline-two\\n" },
    stream: "line-one\nline-two\n",
    gives: "[mcp-run:A]\n",
  },
  { says: "a four-character value", secrets: { A: "q7#K" }, stream: "q7#K q7#k", gives: "[mcp-run:A] q7#k" },
  { says: "an empty value", secrets: { A: "" }, stream: "abc", gives: "abc" },
  { says: "a three-letter value", secrets: { A: "abc" }, stream: "abc abc", gives: "abc abc" },
  {
    says: "a whitespace-only value",
    secrets: { A: "     \n  " },
    stream: "a     \n  b",
    gives: "a     \n  b",
  },
  {
    says: "a secret that another one continues",
    secrets: { ONE: "secret", MANY: "secrets" },
    stream: "secret secrets secretssecrets secretsecrets\n",
    gives: "[mcp-run:ONE] [mcp-run:MANY] [mcp-run:MANY] [mcp-run:MANY]\n",
  },
  {
    says: "adjacent secrets",
    secrets: { A: "canary-1", B: "canary-2" },
    stream: "<canary-1canary-2canary-1>\n",
    gives: "<[mcp-run:A]>\n",
  },
  {
    says: "JSON, URI, XML and shell forms",
    secrets: { A: `p"q'r&s\\t<u v/w%` },
    stream: [
      `p\\"q'r&s\\\\t<u v/w%`,
      "p%22q'r%26s%5Ct%3Cu%20v%2Fw%25",
      "p%22q%27r%26s%5ct%3cu+v%2fw%25",
      "p&quot;q&#39;r&amp;s\\t&lt;u v/w%",
      `p"q'\\''r&s\\t<u v/w%`,
      `p"q''r&s\\t<u v/w%`,
      `p""q'r&s\\t<u v/w%`,
    ].join("\n"),
    gives: Array(7).fill("[mcp-run:A]").join("\n"),
  },
  {
    says: "a surrogate pair, percent-encoded and in JSON",
    secrets: { A: "clef-𝄞-key" },
    stream: "clef-%F0%9D%84%9E-key clef-%f0%9d%84%9e-key clef-\\ud834\\udd1e-key clef-𝄞-key\n",
    gives: "[mcp-run:A] [mcp-run:A] [mcp-run:A] [mcp-run:A]\n",
  },
  {
    says: "a short partial match at the end of the stream",
    secrets: { A: "canary-7f3a2b1c0d-canary" },
    stream: "end canary-",
    gives: "end canary-",
  },
  {
    says: "a long partial match at the end of the stream",
    secrets: { A: "canary-7f3a2b1c0d-canary" },
    stream: "end canary-7",
    gives: "end [mcp-run:A]",
  },
  {
    says: "half of a short secret at the end of the stream",
    secrets: { A: "q7#Kx9" },
    stream: "end q7#",
    gives: "end [mcp-run:A]",
  },
  {
    says: "NUL and 0xFF around a secret",
    secrets: { A: "nul\0nul" },
    stream: Buffer.concat([Buffer.from([0, 0xff]), Buffer.from("nul\0nul"), Buffer.from([0xff, 0])]),
    gives: Buffer.concat([Buffer.from([0, 0xff]), Buffer.from("[mcp-run:A]"), Buffer.from([0xff, 0])]),
  },
  {
    says: "regular-expression metacharacters",
    secrets: { A: "a.*b+(c|d)$^[e]\\" },
    stream: "aXXb a.*b+(c|d)$^[e]\\ ab\n",
    gives: "aXXb [mcp-run:A] ab\n",
  },
  {
    says: "the password inside a URL",
    secrets: { DATABASE_URL: "postgres://app:p%40ss-canary@db.local/app" },
    stream: "login p%40ss-canary / p@ss-canary at db.local, postgres://app:p%40ss-canary@db.local/app\n",
    gives: "login [mcp-run:DATABASE_URL] / [mcp-run:DATABASE_URL] at db.local, [mcp-run:DATABASE_URL]\n",
  },
  {
    says: "TOKTOKEN in TOKTOKTOKEN",
    secrets: { A: "TOKTOKEN" },
    stream: "TOKTOKTOKEN",
    gives: "TOK[mcp-run:A]",
  },
  { says: "aaab in aa|aab", secrets: { A: "aaab" }, stream: "aaaaab", gives: "aa[mcp-run:A]" },
  { says: "abcabd in abcabcabd", secrets: { A: "abcabd" }, stream: "abcabcabd", gives: "abc[mcp-run:A]" },
  {
    says: "a held part that begins inside a completed match",
    secrets: { A: "secret-key-value-s", B: "s\nand-more-of-it" },
    stream: "token=secret-key-value-s\nnext\n",
    gives: "token=[mcp-run:A]\nnext\n",
  },
  {
    says: "the tail of an overlapping secret",
    secrets: { A: "first-second", B: "second-third" },
    stream: "first-second-third",
    gives: "[mcp-run:A]",
  },
  {
    says: "a character cut by a chunk",
    secrets: { A: "müßig-ö" },
    stream: "ü müßig-ö ö",
    gives: "ü [mcp-run:A] ö",
  },
  {
    says: "a line with one brace of a JSON secret",
    secrets: { A: '{\n  "key": "canary"\n}' },
    stream: '{ } {\n  "key": "canary"\n} {\n',
    gives: "{ } [mcp-run:A] {\n",
  },
];

describe("the scrubber hides, whole, byte by byte and cut at every place:", () => {
  for (const [search, tuning] of Object.entries(SEARCHES)) {
    test.each(CASES)(`$says (${search})`, ({ secrets, stream, gives }) => {
      const bytes = Buffer.from(stream);
      const wanted = Buffer.from(gives).toString("latin1");
      const set = setOf(secrets);
      for (const chunks of everyCut(bytes)) {
        const out = scrubbed(set, chunks, tuning).toString("latin1");
        if (out !== wanted) expect({ chunks: chunks.map(String), out }).toEqual({ out: wanted });
      }
      expect(scrubbed(set, [bytes], tuning).toString("latin1")).toBe(wanted);
    });
  }

  test.each(Object.keys(SEARCHES))("base64 of a secret behind prefixes of 0 to 6 bytes (%s)", (search) => {
    const secret = "canary-7f3a+/ü-end";
    const set = setOf({ A: secret });
    for (let length = 0; length <= 6; length++) {
      for (const encoding of ["base64", "base64url"] as const) {
        const before = "prefix".slice(0, length);
        const message = Buffer.from(`${before}${secret} and what follows`).toString(encoding);
        for (const chunks of everyCut(Buffer.from(message))) {
          const out = scrubbed(set, chunks, SEARCHES[search]).toString();
          expect(out).toMatch(/^[\w+/-]{0,11}\[mcp-run:A\][\w+/=-]{23,26}$/);
        }
      }
    }
  });

  test("every case as the brute-force masking of the same needles gives it", () => {
    for (const { secrets, stream } of CASES) {
      const { table } = setOf(secrets).matcher();
      const needles = table.labels.map((label, index) => ({ label, bytes: table.needle(index) }));
      const bytes = Buffer.from(stream);
      expect(scrubbed(setOf(secrets), [bytes])).toEqual(maskedByBruteForce(bytes, needles));
    }
  });
});

describe("the scrubber", () => {
  test("passes the very same chunk on when there is nothing to hide", () => {
    for (const size of [100, 100_000]) {
      const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));
      const chunk = Buffer.alloc(size, "plain text\n");

      const pieces = scrubber.push(chunk);

      expect(pieces).toHaveLength(1);
      expect(pieces[0]).toBe(chunk);
    }
  });

  test("does not hold a prompt back", () => {
    const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));
    expect(text(scrubber.push(Buffer.from("prompt> ")))).toBe("prompt> ");
    expect(scrubber.heldBytes).toBe(0);
  });

  test("holds only what could become a secret", () => {
    const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));
    expect(text(scrubber.push(Buffer.from("a can")))).toBe("a ");
    expect(text(scrubber.push(Buffer.from("can")))).toBe("can");
    expect(text(scrubber.push(Buffer.from("dy")))).toBe("candy");
  });

  test("never lets a half-written secret go because time passes", () => {
    vi.useFakeTimers();
    try {
      const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));

      const before = text(scrubber.push(Buffer.from("token: canary-")));
      const timers = vi.getTimerCount();
      vi.advanceTimersByTime(3_600_000);
      const after = text(scrubber.push(Buffer.from("7f3a\n")));

      expect([before, timers, after]).toEqual(["token: ", 0, "[mcp-run:A]\n"]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("shows a mask as soon as the secret can't be part of a longer one", () => {
    const scrubber = new Scrubber(fixedNeedles(named("secret", "secret-longer")));
    expect(text(scrubber.push(Buffer.from("a secret")))).toBe("a ");
    expect(text(scrubber.push(Buffer.from("!")))).toBe("[mcp-run:N0]!");
  });

  test("lets the caller use a chunk's memory again once the pieces are used", () => {
    const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));
    const memory = Buffer.from("say cana");
    const first = text(scrubber.push(memory));
    memory.write("ry-7f3a.");

    const second = text(scrubber.push(memory));

    expect([first, second]).toEqual(["say ", "[mcp-run:A]."]);
  });

  test("takes a plain Uint8Array at any place of its buffer", () => {
    const memory = new Uint8Array(64);
    memory.set(Buffer.from("x canary-7f3a y"), 3);
    const out = scrubbedPieces(new Scrubber(setOf({ A: "canary-7f3a" })), [memory.subarray(3, 18)]);
    expect(out).toBe("x [mcp-run:A] y");
  });

  test("hides a needle that was added in the stream in later text only", () => {
    const set = setOf({ OLD: "old-canary" });
    const scrubber = new Scrubber(set);
    const early = text(scrubber.push(Buffer.from("old-canary new-canary ")));
    set.add("NEW", new Secret("new-canary"));

    const late = text(scrubber.push(Buffer.from("old-canary new-canary ")));

    expect([early, late]).toEqual(["[mcp-run:OLD] new-canary ", "[mcp-run:OLD] [mcp-run:NEW] "]);
  });

  test("looks at what it holds again when the set has grown", () => {
    const set = setOf({ A: "canary-old-value" });
    const scrubber = new Scrubber(set);
    const early = text(scrubber.push(Buffer.from("is canary-")));
    set.add("A", new Secret("canary-new-value"));

    const late = text(scrubber.push(Buffer.from("new-value, was canary-old-value\n")));

    expect([early, late]).toEqual(["is ", "[mcp-run:A], was [mcp-run:A]\n"]);
  });

  test("hides a needle whose beginning was held when it was added, and that is complete by then", () => {
    const set = setOf({ A: "canary-old-value" });
    const scrubber = new Scrubber(set);
    expect(text(scrubber.push(Buffer.from("canary-old")))).toBe("");
    set.add("B", new Secret("ary-ol"));

    expect(text(scrubber.push(Buffer.from("!")))).toBe("can[mcp-run:B]d!");
  });

  test("lets go what it holds when the set has forgotten the secret, whatever has taken its place", () => {
    let source = fixedNeedles(named("canary-old-value"));
    const scrubber = new Scrubber({ matcher: () => source.matcher() });
    expect(text(scrubber.push(Buffer.from("canary-")))).toBe("");
    source = fixedNeedles(named("1234567old-value"));
    expect(text(scrubber.push(Buffer.from("old-")))).toBe("canary-old-");
  });

  test("masks what it holds at the end by the set as it is then", () => {
    const set = setOf({ A: "canary-old-value" });
    const scrubber = new Scrubber(set);
    expect(text(scrubber.push(Buffer.from("canary")))).toBe("");
    set.add("B", new Secret("canary"));
    expect(text(scrubber.end())).toBe("[mcp-run:B]");
  });

  test("puts one mask for a match that goes on from a shown one", () => {
    const scrubber = new Scrubber(fixedNeedles(named("aaaa-bbbb", "bbbb-cccc", "bbbb")));
    const out = [..."aaaa-bbbb-cccc."].map((character) => text(scrubber.push(Buffer.from(character))));
    expect(out.join("")).toBe("[mcp-run:N0].");
  });

  test("hides 16,000 bytes that come in two halves, behind one mask", () => {
    const value = randomBytes(12_000).toString("base64").slice(0, 16_000);
    const set = setOf({ BIG: value });
    const stream = Buffer.from(`<${value}>`);
    for (const at of [1, 4096, 8001, 15_999]) {
      expect(scrubbed(set, [stream.subarray(0, at), stream.subarray(at)]).toString()).toBe("<[mcp-run:BIG]>");
    }
  });

  test("hides a megabyte that comes byte by byte, and holds little of it", () => {
    const value = randomBytes(786_432).toString("base64");
    const scrubber = new Scrubber(setOf({ BIG: value }));
    const stream = Buffer.from(`<${value}>`);
    const out: string[] = [];
    let most = 0;
    for (let at = 0; at < stream.length; at++) {
      for (const piece of scrubber.push(stream.subarray(at, at + 1))) out.push(String(piece));
      most = Math.max(most, scrubber.heldBytes);
    }
    expect(out.join("")).toBe("<[mcp-run:BIG]>");
    expect(most).toBeLessThan(4500);
  });

  test("stays quick where needles and text repeat themselves", () => {
    const needles = named(
      `${"a".repeat(4000)}b`,
      ...Array.from({ length: 200 }, (_, i) => `${"a".repeat(i + 4)}c`),
    );
    const stream = Buffer.alloc(200_000, "a");
    for (const size of [1, 1000, 65_536]) {
      const scrubber = new Scrubber(fixedNeedles(needles));
      let total = 0;
      for (let at = 0; at < stream.length; at += size) {
        for (const piece of scrubber.push(stream.subarray(at, at + size))) total += piece.length;
      }
      for (const piece of scrubber.end()) total += piece.length;
      // The last 4000 of them could have become the long needle, so the end masks them.
      expect(total).toBe(196_000 + "[mcp-run:N0]".length);
    }
  });

  test("holds no more after much data than after little", () => {
    const scrubber = new Scrubber(setOf({ A: "canary-7f3a-canary-7f3a" }));
    const chunk = Buffer.from("canary-7f3a-canary-7f3a canary-7f3a-canary-7 x ".repeat(1500));
    for (let turn = 0; turn < 300; turn++) {
      scrubber.push(chunk.subarray(0, chunk.length - (turn % 50)));
      expect(scrubber.heldBytes).toBeLessThan(40);
    }
  });

  test("gives nothing for an empty chunk and an empty stream", () => {
    const scrubber = new Scrubber(setOf({ A: "canary-7f3a" }));
    expect(scrubber.push(new Uint8Array(0))).toHaveLength(0);
    expect(scrubber.end()).toHaveLength(0);
  });
});

function setOf(secrets: Readonly<Record<string, string>>): NeedleSet {
  const set = new NeedleSet();
  for (const [name, value] of Object.entries(secrets)) set.add(name, new Secret(value));
  return set;
}

function text(pieces: readonly Uint8Array[]): string {
  return Buffer.concat(pieces).toString();
}

function scrubbedPieces(scrubber: Scrubber, chunks: readonly Uint8Array[]): string {
  return text([...chunks.flatMap((chunk) => [...scrubber.push(chunk)]), ...scrubber.end()]);
}

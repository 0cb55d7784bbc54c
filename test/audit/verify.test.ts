/** Whoever changes the audit is found out: by the chain, and by anchors that were noted before. */
import { cpSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sealed } from "../../src/audit/chain.ts";
import { formatAnchors, parseAnchors } from "../../src/audit/head.ts";
import { AuditRoom, DAY, END, LAUNCH, RESTART, SWAP } from "./audit-room.ts";

let room: AuditRoom;

beforeEach(async () => {
  room = new AuditRoom();
  const log = room.log();
  for (const entry of [LAUNCH, SWAP, RESTART]) log.record(entry);
  await room.clock.advance(DAY / 2);
  log.record(SWAP);
  log.record(END);
  await log.close();
  await room.written([LAUNCH, RESTART, RESTART, END]);
  await room.written([{ ...LAUNCH, profile: "línear-\u{1F511}" }]);
});

afterEach(() => room.remove());

const NEWLINE = 10;

function linesIn(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, start) + 1;
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  return lines;
}

/** One thing done to one file; `at` and `other` are any numbers. Undefined if it would change nothing. */
type Tampering = (bytes: Buffer, at: number, other: number) => Buffer | undefined;

const TAMPERINGS: Readonly<Record<string, Tampering>> = {
  "another byte": (bytes, at, other) => {
    const changed = Buffer.from(bytes);
    const place = at % bytes.length;
    changed[place] = ((changed[place] ?? 0) + 1 + (other % 255)) % 256;
    return changed;
  },
  "a byte less": (bytes, at) => {
    const place = at % bytes.length;
    return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)]);
  },
  "a byte more": (bytes, at, other) => {
    const place = at % bytes.length;
    return Buffer.concat([bytes.subarray(0, place), Buffer.from([other % 256]), bytes.subarray(place)]);
  },
  "a line less": (bytes, at) => {
    const lines = linesIn(bytes);
    lines.splice(at % lines.length, 1);
    return Buffer.concat(lines);
  },
  "a line twice": (bytes, at, other) => {
    const lines = linesIn(bytes);
    const [line] = lines.slice(at % lines.length);
    if (line) lines.splice(other % lines.length, 0, line);
    return Buffer.concat(lines);
  },
  "two lines in each other's place": (bytes, at, other) => {
    const lines = linesIn(bytes);
    const [a, b] = [at % lines.length, other % lines.length];
    const [lineA, lineB] = [lines[a], lines[b]];
    if (a === b || !lineA || !lineB) return undefined;
    [lines[a], lines[b]] = [lineB, lineA];
    return Buffer.concat(lines);
  },
  "an end that is cut off": (bytes, at) => bytes.subarray(0, at % bytes.length),
  "a line that is cut short": (bytes, at, other) => {
    const lines = linesIn(bytes);
    const index = at % lines.length;
    const line = lines[index] ?? bytes;
    lines[index] = Buffer.concat([line.subarray(0, other % (line.length - 1)), Buffer.from("\n")]);
    return Buffer.concat(lines);
  },
};

describe("the audit as it was written", () => {
  it("is valid, with and without anchors", async () => {
    const anchors = await room.anchors();

    expect(await room.verify()).toEqual({ files: 4, records: 10, problems: [], torn: [], expired: 0 });
    expect(await room.verify(anchors)).toMatchObject({ problems: [] });
  });

  it("is valid against older anchors, when it has grown since", async () => {
    const anchors = await room.anchors();
    const log = room.log();
    log.record(LAUNCH);
    await log.flushed();
    const [last] = (await room.anchors()).filter(({ file }) => !anchors.some((known) => known.file === file));
    log.record(END);
    await log.close();

    expect(await room.verify(last ? [...anchors, last] : [])).toMatchObject({ records: 12, problems: [] });
  });

  it("is valid where nothing was ever written", async () => {
    rmSync(room.folder, { recursive: true });

    expect(await room.verify([])).toMatchObject({ files: 0, problems: [] });
  });
});

describe("against its anchors", () => {
  it.each(Object.keys(TAMPERINGS))("%s anywhere in any file is found", async (kind) => {
    const anchors = await room.anchors();
    const { files } = room;
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(1_000_000), fc.nat(1_000_000), async (which, at, other) => {
        const file = files[which % files.length] as string;
        const before = readFileSync(room.path(file));
        const after = TAMPERINGS[kind]?.(before, at, other);
        fc.pre(after !== undefined && !after.equals(before));
        writeFileSync(room.path(file), after as Buffer);
        const { problems } = await room.verify(anchors);
        writeFileSync(room.path(file), before);
        expect(problems.map((problem) => problem.file)).toContain(file);
      }),
      { numRuns: 200 },
    );
    expect(await room.verify(anchors)).toMatchObject({ problems: [] });
  });

  it("a file that is removed is found, and so is one that stands in its place", async () => {
    const anchors = await room.anchors();
    const [, , third = "", fourth = ""] = room.files;
    rmSync(room.path(third));
    expect((await room.verify(anchors)).problems).toEqual([{ file: third, problem: "it was removed" }]);

    cpSync(room.path(fourth), room.path(third));
    const { problems } = await room.verify(anchors);
    expect(problems[0]).toMatchObject({ file: third, line: 1 });
    expect(problems[0]?.problem).toContain("belongs to a file of another name");
  });

  it("a chain that was made anew from somewhere on is found", async () => {
    const anchors = await room.anchors();
    const { file, seq } = anchors.at(-2) as { file: string; seq: number };
    rmSync(room.path(file));
    const other = new AuditRoom();
    await other.written([{ ...LAUNCH, profile: "harmless" }, RESTART, RESTART, END], {
      folder: room.folder,
      clock: room.clock,
      pid: 101,
    });
    other.remove();

    expect(room.files).toContain(file);
    expect(await room.verify()).toMatchObject({ problems: [] });
    expect((await room.verify(anchors)).problems).toEqual([
      { file, problem: `record ${seq} is not the one that was noted` },
    ]);
  });

  it("what retention has removed is counted, and no problem", async () => {
    const anchors = await room.anchors();
    await room.clock.advance(91 * DAY);
    await room.written([LAUNCH]);

    expect(await room.verify(anchors)).toMatchObject({ files: 1, problems: [], expired: 4 });
  });

  it("what was removed after the days in its name is no problem, and before them it is one", async () => {
    await room.written([LAUNCH], { keptDays: 30 });
    const [name = ""] = room.files.filter((file) => file.endsWith(".30d.jsonl"));
    const anchors = await room.anchors();
    rmSync(room.path(name));

    await room.clock.advance(29 * DAY);
    expect((await room.verify(anchors)).problems).toEqual([{ file: name, problem: "it was removed" }]);
    await room.clock.advance(2 * DAY);
    expect(await room.verify(anchors)).toMatchObject({ problems: [], expired: 1 });
  });

  it("a file that was renamed is found", async () => {
    const anchors = await room.anchors();
    const name = room.files.at(-1) as string;
    renameSync(room.path(name), room.path(name.replace("laptop", "desktop")));

    expect((await room.verify(anchors)).problems.map(({ file }) => file).sort()).toEqual(
      [name.replace("laptop", "desktop"), name].sort(),
    );
  });
});

describe("without anchors", () => {
  it("an end that a killed writer has left is torn, and not forged, wherever it was cut", async () => {
    const file = room.files.at(-2) as string;
    const bytes = readFileSync(room.path(file));
    for (let size = 0; size < bytes.length; size += 7) {
      writeFileSync(room.path(file), bytes.subarray(0, size));
      const isTorn = size > 0 && bytes[size - 1] !== NEWLINE;

      expect(await room.verify()).toMatchObject({ problems: [], torn: isTorn ? [file] : [] });
    }
  });

  it("the end of a day that the same process went on from can't be cut, nor the whole day be removed", async () => {
    const [first = "", second = ""] = room.files;
    truncateSync(room.path(first), readFileSync(room.path(first)).length - 10);
    expect((await room.verify()).problems).toEqual([
      { file: first, problem: `it does not end with the record that ${second} goes on from` },
    ]);

    rmSync(room.path(first));
    expect((await room.verify()).problems).toEqual([
      { file: first, problem: `it was removed, and ${second} goes on from it` },
    ]);
  });

  it("a line that was sealed anew is found by the next", async () => {
    const name = room.files[2] as string;
    const lines = readFileSync(room.path(name), "utf8").split("\n");
    const { prev, hash: _, ...fields } = JSON.parse(lines[1] ?? "");
    lines[1] = sealed({ ...fields, profile: "harmless" }, prev).line.trimEnd();
    writeFileSync(room.path(name), lines.join("\n"));

    expect((await room.verify()).problems.map(({ line }) => line)).toEqual([3]);
  });

  it("says which line, and what is wrong with it", async () => {
    const name = room.files[2] as string;
    const lines = readFileSync(room.path(name), "utf8").split("\n");
    const written = [
      lines[0],
      lines[1]?.replace("github", "gitlab"),
      "{}",
      lines[3],
      lines[4],
      lines[3],
      "",
    ].join("\n");
    writeFileSync(room.path(name), written);

    expect((await room.verify()).problems.map(({ line, problem }) => [line, problem])).toEqual([
      [2, "line 2 was changed"],
      [3, "line 3 is not a record"],
      [6, "line 6 does not follow the line before it: something was removed, added or moved"],
    ]);
  });
});

describe("something else in the place of a file", () => {
  it("is refused in words", async () => {
    const name = room.files[0] as string;
    rmSync(room.path(name));
    symlinkSync("/dev/zero", room.path(name));

    await expect(room.verify()).rejects.toMatchObject({
      code: "access-denied",
      message: `Cannot read ${room.path(name)}: it is a symbolic link`,
    });
  });
});

describe("anchors", () => {
  it("are the same after they were written down", async () => {
    const anchors = await room.anchors();
    const text = formatAnchors(anchors, "laptop", room.clock.now());

    expect(parseAnchors(text, "x")).toEqual(anchors);
    expect(parseAnchors(text.replaceAll("\n", "\r\n"), "x")).toEqual(anchors);
    expect(parseAnchors(formatAnchors([], "laptop", 0), "x")).toEqual([]);
  });

  it("are refused in words if they are not whole, or something else", async () => {
    const text = formatAnchors(await room.anchors(), "laptop", room.clock.now());
    const refusal = (changed: string) => {
      try {
        return parseAnchors(changed, "notes.txt");
      } catch (error) {
        return (error as Error).message;
      }
    };

    expect(refusal("")).toMatch(/^Cannot read the anchors in notes\.txt: line 1 is not the first line/);
    expect(refusal(text.split("\n").slice(0, -2).join("\n"))).toContain(
      "4 files are announced, and 3 follow",
    );
    expect(refusal(text.replace(/ (\d+) 2026/, " -1 2026"))).toContain("line 2 is not an anchor");
  });
});

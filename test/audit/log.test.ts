/** What a process writes down, and what it does where it can't. */
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { until } from "../helpers/processes.ts";
import { AuditRoom, CALL, DAY, END, LAUNCH, NOON, RESTART, SWAP } from "./audit-room.ts";

let room: AuditRoom;

beforeEach(() => {
  room = new AuditRoom();
});

afterEach(() => {
  vi.restoreAllMocks();
  room.remove();
});

/** Write calls of every open file fail with this code while `isFailing` says so, after half of the bytes. */
async function failingWrites(code: string, isFailing: () => boolean): Promise<void> {
  const probe = await open(process.execPath);
  const prototype = Object.getPrototypeOf(probe);
  await probe.close();
  const write = prototype.write;
  vi.spyOn(prototype, "write").mockImplementation(async function (this: unknown, ...given: unknown[]) {
    if (!isFailing()) return write.apply(this, given);
    const [bytes, from, length, position] = given as [Buffer, number, number, number];
    await write.call(this, bytes, from, length >> 1, position);
    throw Object.assign(new Error(code), { code });
  });
}

describe("the audit of a process", () => {
  it("is one file, for the owner alone, in a folder for the owner alone", async () => {
    await room.written([LAUNCH, SWAP, END]);

    expect(room.files).toEqual([expect.stringMatching(/^2026-11-21-laptop-100-[0-9a-z]+\.jsonl$/)]);
    expect(statSync(room.path()).mode & 0o777).toBe(0o600);
    expect(statSync(room.folder).mode & 0o777).toBe(0o700);
  });

  it("says in each line who, where and when, in order, and holds the line before", async () => {
    await room.written([LAUNCH, SWAP]);

    const [opened, launch, swap] = room.lines();
    const who = { host: "laptop", user: "alice", pid: 100, at: "2026-11-21T12:00:00.000Z" };
    expect(opened).toMatchObject({ seq: 0, event: "open", version: "0.1.0", file: room.files[0], ...who });
    expect(launch).toMatchObject({ seq: 1, ...LAUNCH, ...who, prev: opened?.hash });
    expect(swap).toMatchObject({ seq: 2, ...SWAP, ...who, prev: launch?.hash });
    expect(room.troubles).toEqual([]);
  });

  it("is made for the first record, not before", async () => {
    const log = room.log();
    await log.close();

    expect(() => room.files).toThrow("ENOENT");
  });

  it("says when all is on the disk", async () => {
    const log = room.log();
    log.record(LAUNCH);
    log.record(END);

    expect(await log.flushed()).toBe(true);
    expect(room.lines()).toHaveLength(3);
    log.record(SWAP);
    expect(await log.flushed()).toBe(true);
    expect(room.lines()).toHaveLength(4);
    await log.close();
  });

  it("goes on in a file of its own after midnight, which tells where the one before has ended", async () => {
    const log = room.log();
    log.record(LAUNCH);
    await room.clock.advance(DAY / 2);
    log.record(SWAP);
    await room.clock.advance(DAY);
    log.record(END);
    await log.close();

    const [first, second, third] = room.files;
    expect(room.files.map((name) => name.slice(0, 10))).toEqual(["2026-11-21", "2026-11-22", "2026-11-23"]);
    expect(room.lines(second)[0]).toMatchObject({
      previous: { file: first, hash: room.lines(first).at(-1)?.hash },
    });
    expect(room.lines(third)[0]).toMatchObject({
      previous: { file: second, hash: room.lines(second).at(-1)?.hash },
    });
    expect(await room.verify()).toMatchObject({ files: 3, problems: [] });
  });

  it("stays in its file when the clock goes back over midnight, and is valid", async () => {
    const log = room.log();
    log.record(LAUNCH);
    await log.flushed();
    log.record(SWAP, NOON - DAY);
    await log.flushed();
    log.record(END, NOON - 1);
    await log.close();

    expect(room.lines().map(({ at }) => at)).toEqual([
      "2026-11-21T12:00:00.000Z",
      "2026-11-21T12:00:00.000Z",
      "2026-11-20T12:00:00.000Z",
      "2026-11-21T11:59:59.999Z",
    ]);
    expect(await room.verify()).toMatchObject({ files: 1, records: 3, problems: [] });
  });

  it("gets a file of its own beside a process of the same host, number and time", async () => {
    await Promise.all([room.written([LAUNCH], { pid: 7 }), room.written([SWAP], { pid: 7 })]);

    expect(room.files).toHaveLength(2);
    expect(await room.verify()).toMatchObject({ records: 2, problems: [] });
  });

  it("can't lead out of its folder by the name of the host", async () => {
    await room.written([LAUNCH], { host: "../../évil host/" });

    expect(room.files).toEqual([
      expect.stringMatching(/^2026-11-21-\.\._\.\._+vil_host_-100-[0-9a-z]+\.jsonl$/),
    ]);
    expect(await room.verify()).toMatchObject({ records: 1, problems: [] });
  });

  it("goes on in a new file when somebody has removed the one that is written to, and that shows", async () => {
    const log = room.log();
    log.record(LAUNCH);
    await log.flushed();
    rmSync(room.path());
    await room.clock.advance(1);
    log.record(SWAP);
    await log.close();

    expect(room.lines().map(({ event }) => event)).toEqual(["open", "swap"]);
    expect((await room.verify()).problems).toMatchObject([{ problem: expect.stringContaining("removed") }]);
  });
});

describe("an audit that can't be written", () => {
  it("is told once, on a full disk, leaves no half line, and is made up for when there is room again", async () => {
    const log = room.log();
    log.record(LAUNCH);
    await log.flushed();
    let isFull = true;
    await failingWrites("ENOSPC", () => isFull);
    log.record(SWAP);
    log.record(RESTART);
    expect(await log.flushed()).toBe(false);
    log.record(RESTART);
    expect(await log.flushed()).toBe(false);
    expect(room.troubles).toMatchObject([
      { code: "access-denied", message: `Cannot write the audit to ${room.folder}: ENOSPC` },
    ]);
    expect(await room.verify()).toMatchObject({ records: 1, problems: [], torn: [] });

    isFull = false;
    log.record(END);
    await log.close();
    expect(room.lines().map(({ event }) => event)).toEqual([
      "open",
      "launch",
      "swap",
      "restart",
      "restart",
      "end",
    ]);
    expect(await room.verify()).toMatchObject({ records: 5, problems: [], torn: [] });
  });

  it("leaves no file on a disk that was full from the start", async () => {
    await failingWrites("ENOSPC", () => true);
    await room.written([LAUNCH, END]);

    expect(room.files).toEqual([]);
    expect(room.troubles).toHaveLength(1);
  });

  it("counts what it could not keep, and says so in the next record", async () => {
    let isFull = true;
    await failingWrites("EIO", () => isFull);
    const log = room.log();
    for (let count = 0; count < 11_005; count++) log.record(RESTART);
    expect(await log.flushed()).toBe(false);
    isFull = false;
    // Makes room for the next one.
    log.record(RESTART);
    expect(await log.flushed()).toBe(true);
    log.record(END);
    await log.close();

    expect(room.lines()).toHaveLength(11_002);
    expect(room.lines().at(-1)).toMatchObject({ event: "end", lost: 6 });
    expect(await room.verify()).toMatchObject({ problems: [] });
  });

  it("keeps room for other records than calls", async () => {
    let isFull = true;
    await failingWrites("EIO", () => isFull);
    const log = room.log();
    for (let count = 0; count < 10_500; count++) log.record(CALL);
    log.record(SWAP);
    await log.flushed();
    isFull = false;
    log.record(END);
    await log.close();

    const written = room.lines();
    expect(written).toHaveLength(10_003);
    expect(written.at(-2)).toMatchObject({ event: "swap", lost: 500 });
  });

  it("is made up for when there is room again, also where no more records fit", async () => {
    let isFull = true;
    await failingWrites("EIO", () => isFull);
    const log = room.log();
    for (let count = 0; count < 10_000; count++) log.record(CALL);
    await room.clock.advance(200);
    expect(await log.flushed()).toBe(false);
    isFull = false;
    log.record(CALL);
    await room.clock.advance(200);
    await until("they are written", () => log.unwritten.entries.length === 0);
    log.record(END);
    await log.close();

    expect(room.lines()).toHaveLength(10_002);
    expect(room.lines().at(-1)).toMatchObject({ event: "end", lost: 1 });
  });

  it("is not tried again for each call", async () => {
    let tries = 0;
    await failingWrites("EIO", () => ++tries > 0);
    const log = room.log();
    for (let count = 0; count < 300; count++) log.record(CALL);
    await log.flushed();
    const before = tries;
    for (let count = 0; count < 100; count++) {
      log.record(CALL);
      await new Promise(setImmediate);
    }
    expect(tries).toBe(before);
    await room.clock.advance(200);
    await log.close();

    expect(tries).toBeGreaterThan(before);
  });

  it("lets calls wait for others, and for whatever matters more", async () => {
    const log = room.log();
    log.record(CALL);
    log.record(CALL);
    expect(room.wasMade).toBe(false);
    await room.clock.advance(200);
    expect(await log.flushed()).toBe(true);
    expect(room.lines()).toHaveLength(3);
    log.record(CALL);
    log.record(SWAP);
    expect(await log.flushed()).toBe(true);
    await log.close();

    expect(room.lines().map(({ event }) => event)).toEqual(["open", "call", "call", "call", "swap"]);
  });

  it("tells what it could not write", async () => {
    let isFull = true;
    await failingWrites("EIO", () => isFull);
    const log = room.log();
    log.record(LAUNCH);
    log.record(END);

    expect(await log.flushed()).toBe(false);
    expect(log.unwritten).toEqual({ entries: [LAUNCH, END], lost: 0 });
    isFull = false;
    expect(await log.flushed()).toBe(true);
    expect(log.unwritten).toEqual({ entries: [], lost: 0 });
    await log.close();
  });

  it("is told in words where its folder is a symbolic link, and nothing goes there", async () => {
    const elsewhere = join(room.home, "elsewhere");
    mkdirSync(elsewhere, { mode: 0o700 });
    mkdirSync(join(room.home, "state"));
    symlinkSync(elsewhere, room.folder);
    await room.written([LAUNCH]);

    expect(room.troubles).toMatchObject([{ message: expect.stringContaining("it is a symbolic link") }]);
    expect(room.files).toEqual([]);
  });

  it("is told in words where its folder is a file, or open to others", async () => {
    mkdirSync(join(room.home, "state"));
    writeFileSync(room.folder, "");
    await room.written([LAUNCH]);
    rmSync(room.folder);
    mkdirSync(room.folder);
    chmodSync(room.folder, 0o755);
    await room.written([LAUNCH]);

    expect(room.troubles).toMatchObject([
      { message: expect.stringContaining("it is not a directory") },
      { message: expect.stringContaining("it is open to others"), hint: `chmod 700 ${room.folder}` },
    ]);
  });

  it.runIf(process.getuid?.() === 0)(
    "is told in words where its folder belongs to another user",
    async () => {
      await room.written([LAUNCH], { uid: 64_999 });

      expect(room.troubles).toMatchObject([{ message: expect.stringContaining("belongs to another user") }]);
    },
  );

  it("is told in words where its folder can't be written to", async () => {
    // Root may write anywhere; nobody may make a folder below /proc.
    await room.written([LAUNCH], { folder: "/proc/mcp-run-audit" });

    expect(room.troubles).toMatchObject([
      { message: "Cannot write the audit to /proc/mcp-run-audit: ENOENT", hint: expect.any(String) },
    ]);
  });
});

describe("retention", () => {
  it("removes whole files after 90 days, when a log is opened, and nothing else", async () => {
    for (const age of [91, 90, 1]) await room.written([LAUNCH], { clock: clockAt(NOON - age * DAY) });
    const other = room.path("2001-01-01-notes.txt");
    writeFileSync(other, "mine");
    await room.written([LAUNCH]);

    expect(room.files.map((name) => name.slice(0, 10))).toEqual([
      "2001-01-01",
      "2026-08-23",
      "2026-11-20",
      "2026-11-21",
    ]);
    expect(readFileSync(other, "utf8")).toBe("mine");
  });

  it("goes by what each file was begun with, not by who removes", async () => {
    for (const [age, keptDays] of [
      [200, 365],
      [60, 30],
      [60, 90],
      [30, 30],
    ] as const)
      await room.written([LAUNCH], { clock: clockAt(NOON - age * DAY), keptDays });
    await room.written([LAUNCH], { keptDays: 1 });

    expect(room.files.map((name) => name.replace(/-laptop.*?(?=\.)/, ""))).toEqual([
      "2026-05-05.365d.jsonl",
      "2026-09-22.jsonl",
      "2026-10-22.30d.jsonl",
      "2026-11-21.1d.jsonl",
    ]);
    expect(await room.verify()).toMatchObject({ files: 4, problems: [] });
  });
});

function clockAt(ms: number) {
  const { clock } = room;
  return { now: () => ms, monotonic: () => ms, after: clock.after.bind(clock) };
}

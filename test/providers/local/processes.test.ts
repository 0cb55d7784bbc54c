/** The store under several real processes: at the same time, killed, without room, without rights. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../helpers/virtual-clock.ts";
import { openStore, put, read, refusalOf, signal, temporaryDirectory } from "./open-store.ts";
import type { Orders, Result } from "./writer-process.ts";

const NOBODY = 65_534;
const isPosix = process.platform !== "win32";
const isRoot = process.getuid?.() === 0;

let bundle: string;
beforeAll(async () => {
  bundle = await mkdtemp(join(tmpdir(), "mcp-run-writer-"));
  await chmod(bundle, 0o755);
  const build = await rolldown({
    input: join(import.meta.dirname, "writer-process.ts"),
    platform: "node",
    logLevel: "silent",
  });
  await build.write({
    dir: bundle,
    format: "cjs",
    entryFileNames: "writer.cjs",
    chunkFileNames: "[name].cjs",
  });
  await build.close();
});
afterAll(() => rm(bundle, { recursive: true }));

interface Writer {
  readonly child: ChildProcess;
  /** Its results once it has ended; whole lines only. */
  readonly results: Promise<readonly Result[]>;
}

function start(orders: Orders, via: readonly string[] = [], options: { uid?: number } = {}): Writer {
  const [command = "", ...args] = [...via, process.execPath, join(bundle, "writer.cjs")];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  child.stdin.end(JSON.stringify(orders));
  const results = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]).then(
    ([stdout, stderr]) => {
      if (stderr !== "") throw new Error(`the writer failed: ${stderr}`);
      return stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line): Result => JSON.parse(line));
    },
  );
  return { child, results };
}

/** Resolves as soon as `condition` holds; rejects after 60 s. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error("the condition did not come to hold within 60 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch(() => []);
}

test("eight processes with ten puts each lose nothing, also when the store does not exist yet", async () => {
  const { store, home, places } = await openStore();
  const writers = Array.from({ length: 8 }, (_, writer) =>
    Array.from(
      { length: 10 },
      (_, at) => [`writer-${writer}/entry-${at}`, `canary-${writer}-${at}`] as const,
    ),
  );

  const results = await Promise.all(writers.map((puts) => start({ home, puts }).results));

  expect(results.flat().filter((result) => "refused" in result)).toEqual([]);
  const answer = await store.fetch(
    writers.flat().map(([path]) => ({ path })),
    signal,
  );
  const values = [...answer].map(([ref, found]) => [
    ref.path,
    "value" in found ? found.value.reveal() : found,
  ]);
  expect(values).toEqual(writers.flat());
  expect((await readFile(places.identityFile, "utf8")).match(/^AGE-SECRET-KEY/gm)).toHaveLength(1);
  expect(await store.recipients()).toHaveLength(1);
  expect(await namesIn(dirname(places.store))).toEqual(["local.age"]);
}, 120_000);

test("readers in other processes never see a half-written store", async () => {
  const { store, home } = await openStore();
  await put(store, "entry", "canary-0");
  const puts = Array.from({ length: 20 }, (_, at) => ["entry", `canary-${at}`.padEnd(200_000, "x")] as const);
  const writer = start({ home, puts });
  let isWriting = true;
  const written = writer.results.finally(() => {
    isWriting = false;
  });

  let reads = 0;
  while (isWriting) {
    expect((await read(store, "entry")).slice(0, 7)).toBe("canary-");
    reads++;
    await new Promise((resolve) => setImmediate(resolve));
  }

  expect(await written).toHaveLength(20);
  expect(reads).toBeGreaterThan(5);
}, 120_000);

describe.runIf(isPosix)("a writer that is killed in the middle of a write", () => {
  test.each([
    ["while it holds the lock", ".lock"],
    ["while its draft lies beside the store", ".tmp"],
  ])(
    "%s leaves the store readable, and its lock is taken over",
    async (_, sign) => {
      const { store, home, places } = await openStore();
      await put(store, "large", "canary-large".padEnd(1_000_000, "x"));
      await killInMidWrite(home, dirname(places.store), sign);
      const lock = `${places.store}.lock`;
      const sixSecondsAgo = Date.now() / 1000 - 6;
      await utimes(lock, sixSecondsAgo, sixSecondsAgo);

      const large = await read(store, "large");
      await put(store, "after", "canary-after");

      expect(large).toHaveLength(1_000_000);
      expect(await read(store, "after")).toBe("canary-after");
      expect(await namesIn(dirname(places.store))).not.toContain("local.age.lock");
    },
    120_000,
  );

  /** Kills writers until one leaves the sign, and the lock, behind. */
  async function killInMidWrite(home: string, directory: string, sign: string): Promise<void> {
    const isThere = async () => (await namesIn(directory)).some((name) => name.endsWith(sign));
    const puts = Array.from({ length: 5_000 }, (_, at) => ["entry", `canary-${at}`] as const);
    for (let attempt = 0; attempt < 100; attempt++) {
      const writer = start({ home, puts });
      await until(isThere);
      writer.child.kill("SIGKILL");
      expect((await writer.results).length).toBeLessThan(puts.length);
      if ((await isThere()) && (await namesIn(directory)).includes("local.age.lock")) return;
    }
    throw new Error("a hundred writers were killed, each between two writes");
  }
});

test("a lock that stays taken for 10 s is an error that names it", async () => {
  const clock = new VirtualClock();
  const { store, places } = await openStore({ clock });
  await put(store, "entry", "canary-1");
  await mkdir(`${places.store}.lock`);

  const startedAt = clock.monotonic();
  const refusal = await whileTimePasses(clock, refusalOf(put(store, "entry", "canary-2")));

  expect(refusal).toMatchObject({
    failure: "unavailable",
    reason: `another mcp-run has held ${places.store}.lock for 10 s`,
    hint: `again, or rmdir ${places.store}.lock if no other mcp-run is running`,
  });
  expect(clock.monotonic() - startedAt).toBeGreaterThanOrEqual(10_000);
  expect(await read(store, "entry")).toBe("canary-1");
});

async function whileTimePasses<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const watched = work.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return watched;
}

test("a write that was overtaken by somebody without the lock starts over", async () => {
  const { store, home, places } = await openStore();
  await put(store, "entry", "canary-1");
  const pulled = await readFile(places.store);
  await put(store, "entry", "canary-2");
  const slow = await openStore({ home });
  const original = slow.context.emit;
  let isReplaced = false;
  // Between reading the store and replacing it, the pinned list is read; its warning is our way in.
  await writeFile(places.recipientsFile, `${await otherKey()}\n`);
  Object.assign(slow.context, {
    emit: (event: Parameters<typeof original>[0]) => {
      original(event);
      if (isReplaced) return;
      isReplaced = true;
      execFileSync("cp", [join(home, "pulled"), places.store]);
    },
  });
  await writeFile(join(home, "pulled"), pulled);

  await put(slow.store, "mine", "canary-mine");

  expect(isReplaced).toBe(true);
  expect([await read(store, "entry"), await read(store, "mine")]).toEqual(["canary-1", "canary-mine"]);
});

describe.runIf(isPosix)("without room on the disk", () => {
  test("a write fails with the old content intact (tmpfs)", async (context) => {
    if (!canMount()) context.skip("this process may not mount a tmpfs");
    const home = await tinyFileSystem();
    const { store, places } = await openStore({ home });
    await put(store, "entry", "canary-old".padEnd(60_000, "x"));
    const before = await readFile(places.store);

    const refusal = await refusalOf(put(store, "entry", "canary-new".padEnd(300_000, "y")));

    expect(refusal).toMatchObject({
      failure: "unavailable",
      reason: `${places.store} can't be written: the disk is full (ENOSPC); nothing was changed`,
      hint: "the same again after making room",
    });
    expect(await readFile(places.store)).toEqual(before);
    expect(await namesIn(dirname(places.store))).toEqual(["local.age"]);
    expect(await read(store, "entry")).toHaveLength(60_000);
  });

  test("a writer that the system ends in mid-file leaves the old content intact (ulimit)", async () => {
    const { store, home, places } = await openStore();
    await put(store, "entry", "canary-old".padEnd(60_000, "x"));
    const before = await readFile(places.store);
    const limited = ["bash", "-c", 'ulimit -f 128; exec "$@"', "bash"];

    const writer = start({ home, puts: [["entry", "canary-new".padEnd(300_000, "y")]] }, limited);

    expect(await writer.results).toEqual([]);
    expect(writer.child.signalCode).toBe("SIGXFSZ");
    expect(await readFile(places.store)).toEqual(before);
    expect(await read(store, "entry")).toHaveLength(60_000);
  });
});

describe("without rights", () => {
  beforeEach((context) => {
    if (!isRoot) context.skip("only root can start a process under another uid");
  });

  async function ofNobody(path: string): Promise<void> {
    for (const name of await readdir(path, { recursive: true }))
      await chown(join(path, name), NOBODY, NOBODY);
    await chown(path, NOBODY, NOBODY);
  }

  test("a home that can't be written is denied, names the path, and holds nothing half made", async () => {
    const home = await temporaryDirectory();
    await chmod(home, 0o555);

    const results = await start({ home, puts: [["entry", "canary-1"]] }, [], { uid: NOBODY }).results;

    expect(results).toMatchObject([
      { refused: "denied", reason: `${join(home, "data")} can't be made: permission denied (EACCES)` },
    ]);
    expect(await readdir(home)).toEqual([]);
  });

  test("a store in a directory that can't be written is read, and refused for a write", async () => {
    const { store, home, places } = await openStore();
    await put(store, "entry", "canary-1");
    await ofNobody(home);
    await chmod(dirname(places.store), 0o555);
    const orders: Orders = { home, puts: [["entry", "canary-2"]], thenFetch: ["entry"] };

    const results = await start(orders, [], { uid: NOBODY }).results;

    expect(results).toMatchObject([
      { refused: "denied", reason: `${places.store}.lock can't be made: permission denied (EACCES)` },
      { fetched: "entry", value: "canary-1" },
    ]);
  });

  test("an identity directory that can't be written is denied before the store is made", async () => {
    const home = await temporaryDirectory();
    await mkdir(join(home, "config"));
    await mkdir(join(home, "data"));
    await ofNobody(home);
    await chmod(join(home, "config"), 0o555);

    const results = await start({ home, puts: [["entry", "canary-1"]] }, [], { uid: NOBODY }).results;

    expect(results).toMatchObject([{ refused: "denied", reason: expect.stringContaining("local.identity") }]);
    expect(await readdir(join(home, "data"))).toEqual([]);
  });

  test("a store or identity of somebody else is denied", async () => {
    const { store, home, places } = await openStore();
    await put(store, "entry", "canary-1");
    await chmod(home, 0o755);
    await chmod(dirname(places.store), 0o755);

    const results = await start({ home, puts: [], thenFetch: ["entry"] }, [], { uid: NOBODY }).results;

    expect(results).toMatchObject([
      {
        refused: "denied",
        reason: `${places.store} can't be read: permission denied (EACCES)`,
        hint: `ls -ld ${places.store}, to see whose it is`,
      },
    ]);
  });
});

/** A file system of 256 KiB; the test needs the right to mount. */
async function tinyFileSystem(): Promise<string> {
  const directory = await temporaryDirectory();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", directory]);
  onTestFinished(() => {
    execFileSync("umount", [directory]);
  });
  return directory;
}

function canMount(): boolean {
  if (process.platform !== "linux" || !isRoot) return false;
  try {
    execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function otherKey(): Promise<string> {
  const { generateX25519Identity, identityToRecipient } = await import("age-encryption");
  return identityToRecipient(await generateX25519Identity());
}

/** Who waits for whom: for a process that works, and for none that is dead. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { livingProcess } from "../../../src/launch/process-table.ts";
import { isAtWork, withJournalLock } from "../../../src/rotation/journal/journal-lock.ts";
import { never } from "../world.ts";

const ROTATION = "20261121-093015-k3x9ab";

/** Six seconds are over after a few looks. */
class RushedClock implements Clock {
  waits = 0;
  now = systemClock.now;
  monotonic = () => this.waits * 1_000;
  after(_ms: number, callback: () => void) {
    this.waits++;
    const handle = setImmediate(callback);
    return { cancel: () => clearImmediate(handle) };
  }
}

function room() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-journal-lock-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new RushedClock();
  return {
    folder,
    clock,
    ownerFile: join(folder, `${ROTATION}.owner`),
    take: <T>(work: () => Promise<T>) => withJournalLock({ folder, clock }, ROTATION, never(), work),
  };
}

/** What this very process notes of itself. */
async function ownNote({ take, ownerFile }: ReturnType<typeof room>): Promise<Record<string, unknown>> {
  const note = await take(async () => {
    expect(statSync(ownerFile).mode & 0o777).toBe(0o600);
    return readFileSync(ownerFile, "utf8");
  });
  return JSON.parse(note);
}

/** A lock as a process leaves it that is killed. */
function leaveBehind({ folder, ownerFile }: ReturnType<typeof room>, note: string): void {
  mkdirSync(join(folder, `${ROTATION}.lock`));
  writeFileSync(ownerFile, note);
}

async function pidOfADeadProcess(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""], { stdio: "ignore" });
  await once(child, "exit");
  return child.pid ?? 0;
}

describe.skipIf(process.platform === "win32")("the lock of a journal", () => {
  it("leaves nothing behind", async () => {
    const here = room();
    expect(await ownNote(here)).toMatchObject({ pid: process.pid, startedAt: expect.any(String) });
    expect(readdirSync(here.folder)).toEqual([]);
  });

  it("is taken at once from a process that is dead", async () => {
    const here = room();
    const note = await ownNote(here);
    leaveBehind(here, JSON.stringify({ ...note, pid: await pidOfADeadProcess() }));

    expect(await here.take(async () => "mine")).toBe("mine");

    expect(here.clock.waits).toBe(0);
    expect(readdirSync(here.folder)).toEqual([]);
  });

  it("says whether a process works on the rotation", async () => {
    const here = room();
    const isRunning = () => isAtWork(here.folder, ROTATION);
    expect(await isRunning()).toBe(false);
    expect(await here.take(isRunning)).toBe(true);
    const note = await ownNote(here);
    leaveBehind(here, JSON.stringify({ ...note, pid: await pidOfADeadProcess() }));
    expect(await isRunning()).toBe(false);
  });

  it("is taken at once from a process whose number somebody else has by now", async () => {
    const here = room();
    const note = await ownNote(here);
    leaveBehind(here, JSON.stringify({ ...note, startedAt: "long ago" }));

    expect(await here.take(async () => "mine")).toBe("mine");

    expect(here.clock.waits).toBe(0);
  });

  it.each([
    ["lives", () => ({})],
    ["runs on another machine", async () => ({ machine: "elsewhere", pid: await pidOfADeadProcess() })],
    [
      "has not said when it was started",
      async () => ({ startedAt: undefined, pid: await pidOfADeadProcess() }),
    ],
  ])("is waited for when its process %s", async (_what, difference) => {
    const here = room();
    const note = await ownNote(here);
    leaveBehind(here, JSON.stringify({ ...note, ...(await difference()) }));

    await expect(here.take(async () => "mine")).rejects.toMatchObject({
      code: "rotation-incomplete",
      message: `Cannot go on with rotation ${ROTATION}: another mcp-run is at it`,
    });

    expect(here.clock.waits).toBeGreaterThan(0);
  });

  it("is not taken from a process that has been stopped for long, and goes on some day", async () => {
    const here = room();
    const note = await ownNote(here);
    const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], { stdio: "ignore" });
    const pid = child.pid ?? 0;
    onTestFinished(() => void child.kill("SIGKILL"));
    child.kill("SIGSTOP");
    const { startedAt } = livingProcess(pid, process.platform) ?? {};
    leaveBehind(here, JSON.stringify({ ...note, pid, startedAt }));
    utimesSync(join(here.folder, `${ROTATION}.lock`), 0, 0);

    await expect(here.take(async () => "mine")).rejects.toMatchObject({
      code: "rotation-incomplete",
      hint: `waiting for that one (pid ${pid}), or ending it`,
    });

    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await here.take(async () => "mine")).toBe("mine");
  });

  it("is taken from one of which nothing is known, when it has not touched it for long", async () => {
    const here = room();
    leaveBehind(here, "");
    utimesSync(join(here.folder, `${ROTATION}.lock`), 0, 0);

    expect(await here.take(async () => "mine")).toBe("mine");
  });

  it.each(["", "{", "[]"])("is waited for when its note is damaged: %s", async (note) => {
    const here = room();
    leaveBehind(here, note);
    await expect(here.take(async () => "mine")).rejects.toMatchObject({ code: "rotation-incomplete" });
  });

  it("goes to one of many that come upon a dead process together", async () => {
    const here = room();
    const note = await ownNote(here);
    leaveBehind(here, JSON.stringify({ ...note, pid: await pidOfADeadProcess() }));
    const folder = { folder: here.folder, clock: systemClock };
    let working = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++working);
      await new Promise((resolve) => setImmediate(resolve));
      working--;
    };

    const ended = await Promise.all(
      Array.from({ length: 8 }, () => withJournalLock(folder, ROTATION, never(), work).then(() => true)),
    );

    expect(ended).toHaveLength(8);
    expect(most).toBe(1);
  });
});

/** The file itself: its name, its rights, its lines, and who may write to it. */
import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  isRotationId,
  Journal,
  newRotationId,
  unfinishedRotations,
} from "../../../src/rotation/journal/journal.ts";
import { failure, never, World } from "../world.ts";

describe("a rotation's id", () => {
  it("is the time in UTC and six characters that nobody can foretell", () => {
    const now = Date.UTC(2026, 10, 21, 9, 3, 5);
    const ids = Array.from({ length: 200 }, () => newRotationId(now));
    for (const id of ids) expect(id).toMatch(/^20261121-090305-[0-9a-z]{6}$/);
    expect(new Set(ids).size).toBe(200);
    expect(isRotationId("../20261121-090305-abcdef")).toBe(false);
  });
});

describe("a journal", () => {
  it("is one JSON object a line: the plan, intents before facts, the end", async () => {
    const world = new World();

    const { rotation } = await world.rotate();

    const lines = world
      .journalOf(rotation)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({
      v: 1,
      kind: "plan",
      rotation,
      key: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect(lines.at(-1)).toMatchObject({ kind: "end", outcome: "done" });
    const between = lines.slice(1, -1);
    for (const [index, line] of between.entries()) {
      expect(line.kind).toBe(index % 2 === 0 ? "intent" : "fact");
      if (index % 2 === 1) expect(line).toMatchObject({ step: between[index - 1].step });
      expect(new Date(line.at).toISOString()).toBe(line.at);
    }
  });

  it.skipIf(process.platform === "win32")("belongs to its owner alone", async () => {
    const world = new World();
    const { rotation } = await world.rotate();
    const { folder } = world.place;
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, `${rotation}.jsonl`)).mode & 0o777).toBe(0o600);
    // The lock has gone.
    expect(readdirSync(folder)).toEqual([`${rotation}.jsonl`]);
  });

  it.skipIf(process.platform === "win32")(
    "is not kept where others could look, and then nothing is begun",
    async () => {
      const open = new World();
      mkdirSync(open.place.folder);
      chmodSync(open.place.folder, 0o755);
      await expect(open.rotate()).rejects.toMatchObject({
        code: "access-denied",
        hint: expect.stringMatching(/^chmod 700 /),
      });

      const linked = new World();
      symlinkSync(linked.folder, linked.place.folder);
      await expect(linked.rotate()).rejects.toThrow("it is a symbolic link");

      expect([open, linked].flatMap(({ issuers }) => issuers.calls)).toEqual([]);
    },
  );

  it("has a line for what it does not know: it is damaged, and so is one with a second plan", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();
    const text = world.journalOf(rotation);
    const file = join(world.place.folder, `${rotation}.jsonl`);
    const [plan = "", ...rest] = text.trimEnd().split("\n");
    const unknown = '{"v":1,"kind":"intent","at":"2026-11-21T09:00:00.000Z","step":"explode"}';
    for (const lines of [
      [plan, unknown, ...rest],
      [plan, plan, ...rest],
    ]) {
      writeFileSync(file, `${lines.join("\n")}\n`);
      await expect(world.resume(rotation)).rejects.toThrow("line 2 is damaged");
    }
    writeFileSync(file, `${rest.join("\n")}\n`);
    await expect(world.resume(rotation)).rejects.toThrow("line 1 is damaged");
  });

  it("is written to by one process at a time", async () => {
    const world = new World();
    world.lagging = "failed";
    const { rotation } = await world.rotate();

    await Journal.open(world.place, rotation, never(), async () => {
      await expect(world.resume(rotation)).rejects.toMatchObject({
        code: "rotation-incomplete",
        message: `Cannot go on with rotation ${rotation}: another mcp-run is at it`,
      });
    });
  });
});

describe("the list of what is unfinished", () => {
  it("has what was cut off and what is incomplete, and nothing that has ended", async () => {
    const world = new World();
    await world.rotate();
    world.lagging = "failed";
    const { rotation: incomplete } = await world.rotate();
    world.lagging = undefined;
    world.issuers.failure = (action) => (action === "mint" ? failure("it says 500") : undefined);
    await world.rotate();
    world.issuers.failure = () => undefined;
    world.reborn();
    world.lines = 9;
    await expect(world.rotate()).rejects.toThrow("dead");
    const { folder } = world.place;
    writeFileSync(join(folder, "20250101-000000-aaaaaa.jsonl"), "rubbish\n");
    writeFileSync(join(folder, "notes.txt"), "not a journal");
    const damaged: string[] = [];

    const found = await unfinishedRotations(folder, ({ message }) => damaged.push(message));

    const cut = world.events.findLast((event) => event.type === "began")?.rotation;
    expect(found.map(({ plan }) => plan.rotation).sort()).toEqual([incomplete, cut].sort());
    expect(found[0]?.plan).toMatchObject({ profile: "github", reason: "leaked in build log" });
    expect(damaged).toEqual([expect.stringContaining("20250101-000000-aaaaaa.jsonl: line 1 is damaged")]);
    expect(await unfinishedRotations("/nonexistent/rotations", () => undefined)).toEqual([]);
  });
});

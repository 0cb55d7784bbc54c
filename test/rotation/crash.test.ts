/** A rotation that is cut off after each line of its journal, before and after what the line announces was done. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { RotationRequest } from "../../src/rotation/plan.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { Crash, never, World } from "./world.ts";

/** Some thousand writes to the disk. */
const PATIENCE_MS = 90_000;

interface Way {
  readonly name: string;
  readonly request: Partial<RotationRequest>;
  readonly knowsWhatItMade: boolean;
  /** Somebody changes another field of a document before it is promoted. */
  readonly isDisturbed?: true;
  /** Somebody puts another key there. */
  readonly isOvertaken?: true;
}

const WAYS: readonly Way[] = [
  { name: "a hook that finds", request: {}, knowsWhatItMade: true },
  { name: "an issuer that can't find", request: {}, knowsWhatItMade: false },
  { name: "a hook that finds, revoking first", request: { revokeFirst: true }, knowsWhatItMade: true },
  { name: "a document that somebody else writes to", request: {}, knowsWhatItMade: true, isDisturbed: true },
  {
    name: "a secret that somebody else replaces, revoking first",
    request: { revokeFirst: true },
    knowsWhatItMade: true,
    isOvertaken: true,
  },
];

describe.each(WAYS)("after a crash, with $name", ({ request, knowsWhatItMade, ...others }) => {
  const start = () => {
    const world = new World();
    world.issuers.knowsWhatItMade = knowsWhatItMade;
    world.beforePromotion = async () => {
      world.beforePromotion = async () => undefined;
      if (others.isDisturbed) await writeSibling(world);
      if (others.isOvertaken)
        await (await world.store()).put({ path: "db" }, new Secret("canary-theirs"), never());
    };
    return world;
  };

  it.each([
    { when: "before the next line is written", diesAtOnce: false },
    { when: "as soon as a line is written", diesAtOnce: true },
  ])(
    "a resumed rotation ends as one that was never cut off: $when",
    async ({ diesAtOnce }) => {
      const uncut = start();
      const { rotation } = await uncut.rotate(request);
      const lines = uncut.journalOf(rotation).split("\n").length - 1;
      const expected = await uncut.state();
      expect(lines).toBeGreaterThan(30);

      for (let cut = 1; cut < lines; cut++) {
        const world = start();
        world.lines = cut;
        world.diesAtOnce = diesAtOnce;
        await expect(world.rotate(request)).rejects.toBeInstanceOf(Crash);
        world.reborn();
        const id = onlyRotation(world);
        expect(world.journalOf(id).split("\n")).toHaveLength(cut + 1);

        const outcome = await world.resume(id);

        const minted = mints(world);
        const at = `line ${cut}: ${world.journalOf(id).split("\n")[cut - 1]}`;
        expect(outcome, at).toMatchObject({ is: "done", stillValid: [] });
        if (knowsWhatItMade) {
          expect(await world.state(), at).toEqual(expected);
          expect(minted, at).toEqual(["mint TOKEN", "mint DB"]);
        } else {
          const told = [...world.issuers.valid].filter((key) => !outcome.notes.join().includes(key));
          const lost = minted.length - 2;
          expect(withoutNumbers(await world.state()), at).toEqual(withoutNumbers(expected));
          expect(lost, at).toBeLessThanOrEqual(2);
          // A key that was lost is ended, or said to be lost.
          const strays = told.length - 2;
          if (strays > 0) expect(outcome.notes.join(), at).toContain("is in nobody's hands");
        }
      }
    },
    PATIENCE_MS,
  );
});

describe("the end of a journal", () => {
  it("may be torn anywhere in its last line: then that line never was", async () => {
    const uncut = new World();
    const { rotation } = await uncut.rotate();
    const expected = await uncut.state();
    const text = uncut.journalOf(rotation);
    const lines = text.split("\n").length - 1;
    for (const cut of [3, 9, 14, 16, 22, lines]) {
      for (const torn of [1, 20, 60]) {
        const world = new World();
        world.lines = cut;
        if (cut < lines) await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
        else await world.rotate();
        world.reborn();
        const id = onlyRotation(world);
        const file = join(world.place.folder, `${id}.jsonl`);
        truncateSync(file, readFileSync(file).length - torn);

        expect(await world.resume(id)).toMatchObject({ is: "done" });

        expect(await world.state()).toEqual(expected);
        expect(mints(world)).toEqual(["mint TOKEN", "mint DB"]);
        for (const line of world.journalOf(id).trimEnd().split("\n"))
          expect(() => JSON.parse(line)).not.toThrow();
      }
    }
  });

  it("is not all that counts: a damaged line before it is named, and nothing is done", async () => {
    const world = new World();
    world.lines = 9;
    await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
    world.reborn();
    const id = onlyRotation(world);
    const file = join(world.place.folder, `${id}.jsonl`);
    const lines = readFileSync(file, "utf8").split("\n");
    writeFileSync(file, lines.with(4, lines[4]?.slice(5) ?? "").join("\n"));
    const before = await world.state();

    await expect(world.resume(id)).rejects.toThrow(`${file}: line 5 is damaged`);

    expect(await world.state()).toEqual(before);
  });
});

describe("after a crash of a way back", () => {
  it("what was given up is still given up, wherever that was cut off", async () => {
    const broken = () => {
      const world = new World();
      world.canary = () => ({ works: false, wasProbed: true, reason: "it says 401" });
      return world;
    };
    const uncut = broken();
    const { rotation, is } = await uncut.rotate();
    expect(is).toBe("discarded");
    const expected = await uncut.state();
    const text = uncut.journalOf(rotation).trimEnd().split("\n");
    const turned = text.findIndex((line) => line.includes('"turn"')) + 1;
    expect(turned).toBeGreaterThan(10);

    for (let cut = turned; cut < text.length; cut++) {
      const world = broken();
      world.lines = cut;
      await expect(world.rotate()).rejects.toBeInstanceOf(Crash);
      world.reborn();
      // It would work by now, and that is not asked any more.
      world.canary = () => ({ works: true, wasProbed: true });

      expect(await world.resume(onlyRotation(world)), text[cut - 1]).toMatchObject({
        is: "discarded",
        reason: expect.stringContaining("it says 401"),
      });

      expect(await world.state(), text[cut - 1]).toEqual(expected);
    }
  });

  it("a rollback goes on where it was cut off", async () => {
    const stopped = async () => {
      const world = new World();
      world.lagging = "failed";
      const { rotation, is } = await world.rotate();
      expect(is).toBe("incomplete");
      world.lagging = undefined;
      world.answer = () => "go-on";
      return { world, rotation };
    };
    const uncut = await stopped();
    const before = uncut.world.journalOf(uncut.rotation).split("\n").length - 1;
    expect(await uncut.world.rollback(uncut.rotation)).toMatchObject({ is: "rolled-back", stillValid: [] });
    const expected = await uncut.world.state();
    const after = uncut.world.journalOf(uncut.rotation).split("\n").length - 1;
    expect(expected.valid).toEqual(["canary-old-db", "canary-old-token"]);
    expect(expected.documents).toMatchObject([
      { current: '{ "token": "canary-old-token", "user": "bot" }', candidate: undefined },
      { current: "canary-old-db", candidate: undefined },
    ]);

    for (let cut = 1; cut < after - before; cut++) {
      const { world, rotation } = await stopped();
      world.reborn();
      world.lines = cut;
      await expect(world.rollback(rotation)).rejects.toBeInstanceOf(Crash);
      world.reborn();

      expect(await world.resume(rotation)).toMatchObject({ is: "rolled-back", stillValid: [] });

      expect(await world.state()).toEqual(expected);
    }
  });
});

function onlyRotation({ place }: World): string {
  const names = readdirSync(place.folder).filter((name) => name.endsWith(".jsonl"));
  expect(names).toHaveLength(1);
  return (names[0] as string).replace(".jsonl", "");
}

async function writeSibling(world: World): Promise<void> {
  const value = new Secret('{ "token": "canary-old-token", "user": "robot" }');
  await (await world.store()).put({ path: "mcp/github" }, value, never());
}

function mints({ issuers }: World): readonly string[] {
  return issuers.calls.filter((call) => call.startsWith("mint"));
}

/** Without what differs where a key was minted twice. */
function withoutNumbers({ documents }: Awaited<ReturnType<World["state"]>>) {
  return documents.map((document) => ({ ...document, current: document.current?.replace(/-\d/, "") }));
}

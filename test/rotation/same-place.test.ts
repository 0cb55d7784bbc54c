import { describe, expect, it } from "vitest";
import type { Target } from "../../src/rotation/contract.ts";
import { DATABASE, World } from "./world.ts";

const QUESTION = {
  type: "elsewhere",
  target: DATABASE,
  planned: "one.example/db",
  place: "two.example/db",
} as const;

/** What the profile leads to, at this address. */
async function targetsAt(world: World, host: string): Promise<readonly Target[]> {
  return (await world.targets())
    .filter(({ ref }) => ref === DATABASE)
    .map((target) => {
      const { store } = target;
      const read = async (signal: AbortSignal) => {
        const present = await store.read(signal);
        return present && { ...present, place: `${host}/db` };
      };
      return { ...target, store: Object.assign(Object.create(store), { read }) };
    });
}

/** Stopped after the promotion, since nobody has the new value yet. */
async function stopped(): Promise<{ world: World; id: string }> {
  const world = new World();
  world.lagging = "pending";
  const outcome = await world.rotate({ targets: await targetsAt(world, "one.example") });
  expect(outcome).toMatchObject({ is: "incomplete" });
  world.lagging = undefined;
  return { world, id: outcome.rotation };
}

describe("a rotation whose ref leads to another place by now", () => {
  it("is not gone on with, nor taken back, unless a person says that it is the same store", async () => {
    const { world, id } = await stopped();
    const moved = await targetsAt(world, "two.example");
    const before = await world.state();

    for (const goOn of [world.resume, world.rollback]) {
      await expect(goOn.call(world, id, moved)).rejects.toMatchObject({
        code: "profile-invalid",
        message: expect.stringContaining(`${DATABASE} is at two.example/db by the profile now`),
      });
    }

    expect(world.questions).toContainEqual(QUESTION);
    expect(await world.state()).toEqual(before);
  });

  it("goes on where a person says so", async () => {
    const { world, id } = await stopped();
    world.answer = ({ type }) => (type === "elsewhere" ? "go-on" : "stop");

    const outcome = await world.resume(id, await targetsAt(world, "two.example"));

    expect(outcome).toMatchObject({ is: "done", stillValid: [] });
    expect(world.questions.filter(({ type }) => type === "elsewhere")).toEqual([QUESTION]);
  });

  it("asks nothing where it is where it was", async () => {
    const { world, id } = await stopped();

    const outcome = await world.resume(id, await targetsAt(world, "one.example"));

    expect(outcome).toMatchObject({ is: "done" });
    expect(world.questions.map(({ type }) => type)).not.toContain("elsewhere");
  });
});

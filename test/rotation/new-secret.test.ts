/** A rotation that puts a key where there was none, undone: nothing is left of it. */
import { describe, expect, it } from "vitest";
import { ProviderError } from "../../src/errors.ts";
import type { Target } from "../../src/rotation/contract.ts";
import { rollback } from "../../src/rotation/engine.ts";
import { targetStore } from "../../src/rotation/target.ts";
import { never, World } from "./world.ts";

const FRESH = "memory:fresh";

async function freshTarget(world: World, field?: string): Promise<Target> {
  const part = { name: "FRESH", issuer: world.issuers.issuer() };
  return {
    ref: FRESH,
    parts: [
      field === undefined ? { ...part, from: FRESH } : { ...part, from: `${FRESH}#${field}`, field: [field] },
    ],
    store: targetStore(await world.store(), { path: "fresh" }),
  };
}

/** Everybody is behind, so that it does not come to its end. */
async function begun(world: World, targets: readonly Target[]): Promise<string> {
  world.lagging = "failed";
  const { is, rotation } = await world.rotate({ targets });
  expect(is).toBe("incomplete");
  return rotation;
}

function rollBack(world: World, rotation: string, targets: readonly Target[]) {
  return rollback(rotation, targets, world.place, world.deps, never());
}

describe("a rollback of a secret that was not there before", () => {
  it.each([undefined, "token"])("removes it, asks nothing, and ends its key (field %s)", async (field) => {
    const world = new World();
    const targets = [await freshTarget(world, field)];
    const rotation = await begun(world, targets);
    expect(await targets[0]?.store.read(never())).toBeDefined();
    world.lagging = undefined;
    world.questions.length = 0;

    const outcome = await rollBack(world, rotation, targets);

    expect(outcome).toMatchObject({ is: "rolled-back", stillValid: [], notes: [] });
    expect(world.questions).toEqual([]);
    expect(await targets[0]?.store.read(never())).toBeUndefined();
    expect([...world.issuers.valid]).toEqual(["canary-old-token", "canary-old-db"]);
  });

  it("goes on where somebody has removed it already", async () => {
    const world = new World();
    const targets = [await freshTarget(world)];
    const rotation = await begun(world, targets);
    world.lagging = undefined;
    await (await world.store()).remove({ path: "fresh" }, never());

    const outcome = await rollBack(world, rotation, targets);

    expect(outcome).toMatchObject({ is: "rolled-back", stillValid: [] });
    expect([...world.issuers.valid]).toEqual(["canary-old-token", "canary-old-db"]);
  });

  it("asks only for what had an old key, if other secrets were replaced along with it", async () => {
    const world = new World();
    const targets = [...(await world.targets()), await freshTarget(world)];
    const rotation = await begun(world, targets);
    world.lagging = undefined;
    world.answer = () => "go-on";

    const outcome = await rollBack(world, rotation, targets);

    expect(outcome).toMatchObject({ is: "rolled-back" });
    expect(world.questions.at(-1)).toEqual({ type: "put-back", targets: ["memory:mcp/github", "memory:db"] });
    expect(await targets.at(-1)?.store.read(never())).toBeUndefined();
    expect(await world.state()).toMatchObject({ documents: [{}, { current: "canary-old-db" }] });
  });

  it("says that it is there still where the store does not let go of it", async () => {
    const world = new World();
    const targets = [await freshTarget(world)];
    const rotation = await begun(world, targets);
    world.lagging = undefined;
    world.behaviour.failure = (operation) =>
      operation === "remove" ? new ProviderError("denied", "permission denied (403)") : undefined;

    const outcome = await rollBack(world, rotation, targets);

    expect(outcome).toMatchObject({
      is: "rolled-back",
      notes: [
        `${FRESH} was not there before this rotation, and its new value is there still: permission denied (403)`,
      ],
    });
    expect([...world.issuers.valid]).toEqual(["canary-old-token", "canary-old-db"]);
  });

  it("is gone on with where the store could not be reached", async () => {
    const world = new World();
    const targets = [await freshTarget(world)];
    const rotation = await begun(world, targets);
    world.lagging = undefined;
    world.behaviour.failure = (operation) =>
      operation === "remove" ? new ProviderError("unavailable", "no answer") : undefined;

    expect(await rollBack(world, rotation, targets)).toMatchObject({ is: "incomplete" });

    world.behaviour.failure = () => undefined;
    expect(await rollBack(world, rotation, targets)).toMatchObject({ is: "rolled-back" });
    expect(await targets[0]?.store.read(never())).toBeUndefined();
  });
});

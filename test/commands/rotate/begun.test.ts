/** What is typed beside the id of a rotation that goes on, or back. */
import { describe, expect, it } from "vitest";
import { begunRotation } from "../../../src/commands/rotate/begun.ts";
import { World } from "../../rotation/world.ts";

type Typed = Parameters<typeof begunRotation>[3];

/** One that stands still after its promotion. */
async function stuck(kind: string) {
  const world = new World();
  world.lagging = "failed";
  const { rotation } = await world.rotate({ targets: await world.targets(kind) });
  const begun = (typed: Typed) => begunRotation(world.place.folder, rotation, "github", typed);
  return { rotation, begun };
}

describe("a rotation that goes on", () => {
  it.each<[string, Typed, string]>([
    ["hook", { generate: true }, "the new TOKEN comes from `hook` by its plan, and not by --generate"],
    ["hook", { fromStdin: true }, "the new TOKEN comes from `hook` by its plan, and not by --from-stdin"],
    ["generate", { fromStdin: true }, "comes from `generate` by its plan, and not by --from-stdin"],
    ["stdin", { mint: true }, "the new TOKEN comes from `stdin` by its plan, and not by --mint"],
    ["hook", { secret: ["DB", "OTHER"] }, "OTHER is none of its secrets"],
    ["hook", { takeOver: "20261121-000000-abcdef" }, "it takes nothing over by its plan"],
    ["hook", { revokeFirst: true }, "it revokes the old key last by its plan"],
  ])("keeps its plan, which is from %s, where %j is typed", async (kind, typed, state) => {
    const { rotation, begun } = await stuck(kind);

    await expect(begun(typed)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining(`Cannot go on with ${rotation}: `),
      hint: expect.stringMatching(/--resume|--take-over/),
    });
    await expect(begun(typed)).rejects.toThrow(state);
  });

  it.each<[string, Typed]>([
    ["hook", { mint: true, secret: ["DB"] }],
    ["generate", { generate: true }],
    ["generate", { mint: true }],
    ["stdin", { fromStdin: true }],
    ["console", {}],
  ])("may be told again what it has planned: from %s, %j", async (kind, typed) => {
    const { rotation, begun } = await stuck(kind);

    expect(await begun(typed)).toMatchObject({ rotation });
  });
});

/** What is typed beside the id of a rotation that goes on, or back. */
import { describe, expect, it } from "vitest";
import { begunRotation } from "../../../src/commands/rotate/begun.ts";
import { World } from "../../rotation/world.ts";

const EARLIER = "20261120-000000-abcdef";
const ANOTHER = "20261121-000000-abcdef";

type Typed = Parameters<typeof begunRotation>[3];

/** One that stands still after its promotion. */
async function stuck(kind: string, takeOver?: string) {
  const world = new World();
  world.lagging = "failed";
  const targets = await world.targets(kind);
  const { rotation } = await world.rotate({ targets, ...(takeOver !== undefined && { takeOver }) });
  const begun = (typed: Typed, profile = "github") =>
    begunRotation(world.place.folder, rotation, profile, typed);
  return { rotation, begun };
}

describe("a rotation that goes on", () => {
  it.each<[string, Typed, string]>([
    ["hook", { generate: true }, "the new TOKEN comes from `hook` by its plan, and not by --generate"],
    ["hook", { fromStdin: true }, "the new TOKEN comes from `hook` by its plan, and not by --from-stdin"],
    ["generate", { fromStdin: true }, "comes from `generate` by its plan, and not by --from-stdin"],
    ["stdin", { mint: true }, "the new TOKEN comes from `stdin` by its plan, and not by --mint"],
    ["hook", { secret: ["OTHER"] }, "OTHER is none of its secrets"],
    ["hook", { secret: ["OTHER", "MORE"] }, "OTHER and MORE are none of its secrets"],
    ["hook", { takeOver: ANOTHER }, "it takes nothing over by its plan"],
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
    // A second name of the same value, or one that was too young then: the plan has neither.
    ["hook", { secret: ["DB", "DB_AGAIN"] }],
    ["generate", { generate: true }],
    ["generate", { mint: true }],
    ["stdin", { fromStdin: true }],
    ["console", {}],
  ])("may be told again what it has planned: from %s, %j", async (kind, typed) => {
    const { rotation, begun } = await stuck(kind);

    expect(await begun(typed)).toMatchObject({ rotation });
  });

  it("names what it takes over by its plan, and how to take over what was typed", async () => {
    const { begun } = await stuck("hook", EARLIER);

    expect(await begun({ takeOver: EARLIER })).toMatchObject({ options: { takeOver: EARLIER } });
    await expect(begun({ takeOver: ANOTHER })).rejects.toMatchObject({
      message: expect.stringContaining(`it takes over ${EARLIER} by its plan`),
      hint: `another rotation with \`--take-over ${ANOTHER}\``,
    });
  });
});

describe("a rotation that goes back", () => {
  it.each<[Typed, string]>([
    [{ fromStdin: true }, "github"],
    [{ secret: ["OTHER"] }, "github"],
    [{ takeOver: ANOTHER }, "github"],
    [{ revokeFirst: true }, "github"],
    [{}, "gitlab"],
  ])("is never told to go on instead: %j of %s", async (typed, profile) => {
    const { rotation, begun } = await stuck("hook");

    await expect(begun({ ...typed, rollback: rotation }, profile)).rejects.toMatchObject({
      code: "usage",
      hint: `mcp-run rotate github --rollback ${rotation}`,
    });
  });
});

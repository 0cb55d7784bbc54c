/** A rotation from its plan to its end, and everything that may go wrong on the way. */
import { describe, expect, it } from "vitest";
import { DATABASE, GITHUB, World } from "./world.ts";

describe("a rotation", () => {
  it("replaces, spreads, revokes, verifies and retires, in this order and over all targets", async () => {
    const world = new World();

    const outcome = await world.rotate();

    expect(outcome).toMatchObject({ is: "done", stillValid: [], notes: [], next: [] });
    expect(await world.state()).toEqual({
      documents: [
        {
          path: "mcp/github",
          current: '{ "token": "canary-new-TOKEN-1", "user": "bot" }',
          versions: ["v2"],
          candidate: undefined,
        },
        { path: "db", current: "canary-new-DB-1", versions: ["v2"], candidate: undefined },
      ],
      valid: ["canary-new-DB-1", "canary-new-TOKEN-1"],
    });
    expect(world.tried).toEqual([["TOKEN=canary-new-TOKEN-1", "DB=canary-new-DB-1"]]);
    expect(world.forgotten).toEqual([`${GITHUB}#token`, DATABASE]);
    const steps = world.events.flatMap((event) =>
      event.type === "step-done" ? [`${event.step} ${event.target ?? "all"}`] : [],
    );
    const each = (step: string) => [`${step} ${GITHUB}`, `${step} ${DATABASE}`];
    expect(steps).toEqual([
      ...["lock", "mint", "candidate"].flatMap(each),
      "canary all",
      ...each("promote"),
      "spread all",
      ...["revoke", "verify", "retire"].flatMap(each),
    ]);
  });
});

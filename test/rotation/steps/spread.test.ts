/** What is said of those who do not have what they are to have. */
import { expect, it } from "vitest";
import { rotate } from "../../../src/rotation/engine.ts";
import { World } from "../world.ts";

it("names the old value where everybody is to have that again", async () => {
  const world = new World();
  world.lagging = "failed";
  world.answer = ({ type }) => (type === "not-acknowledged" ? "stop" : "go-on");
  const { rotation } = await world.rotate();

  const back = await world.rollback(rotation);

  expect(back).toMatchObject({
    is: "incomplete",
    reason: "2 of 2 supervisors do not have the old value again",
  });
});

it("counts no bus among the supervisors", async () => {
  const world = new World();
  const lost = { host: "the fleet's bus", pid: 0, profile: "?", generation: 0, canSwap: true };
  const fleet = {
    ...world.fleet,
    spread: async () => [{ ...lost, state: "failed" as const, reason: "Cannot put an entry: no answer" }],
  };

  const outcome = await rotate(
    await world.plan(),
    world.place,
    { ...world.deps, fleet },
    new AbortController().signal,
  );

  expect(outcome.reason).toBe("the fleet's bus: Cannot put an entry: no answer");
});

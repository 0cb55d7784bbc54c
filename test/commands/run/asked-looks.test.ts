import { expect, it } from "vitest";
import { AskedLooks } from "../../../src/commands/run/asked-looks.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

it("messages cause one look at once, and at most one a second, and the last of them is not forgotten", async () => {
  const clock = new VirtualClock();
  const looks: number[] = [];
  const start = clock.now();
  const asked = new AskedLooks(clock, async () => void looks.push(clock.now() - start));

  for (let message = 0; message < 250; message++) {
    void asked.ask();
    await clock.advance(10);
  }
  expect(looks).toEqual([0, 1_000, 2_000]);
  expect(asked.isPending).toBe(true);

  await clock.advance(10_000);
  expect(looks).toEqual([0, 1_000, 2_000, 3_000]);
  expect(asked.isPending).toBe(false);

  void asked.ask();
  void asked.ask();
  asked.stop();
  await clock.advance(10_000);
  expect(looks).toHaveLength(5);
});

import { expect, it } from "vitest";
import { AskedLooks } from "../../../src/commands/run/asked-looks.ts";
import { VirtualClock } from "../../helpers/virtual-clock.ts";

it("messages cause one look after a breath, and at most one a second, and the last of them is not forgotten", async () => {
  const clock = new VirtualClock();
  const looks: number[] = [];
  const start = clock.now();
  const asked = new AskedLooks(clock, async () => void looks.push(clock.now() - start));

  for (let message = 0; message < 250; message++) {
    void asked.ask();
    await clock.advance(10);
  }
  expect(looks).toEqual([100, 1_100, 2_100]);
  expect(asked.isPending).toBe(true);

  await clock.advance(10_000);
  expect(looks).toEqual([100, 1_100, 2_100, 3_100]);
  expect(asked.isPending).toBe(false);

  void asked.ask();
  await clock.advance(100);
  void asked.ask();
  asked.stop();
  await clock.advance(10_000);
  expect(looks).toHaveLength(5);
});

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

it("whoever asks hears when the look that came of it has ended", async () => {
  const clock = new VirtualClock();
  let end: () => void = () => undefined;
  const asked = new AskedLooks(clock, () => new Promise((resolve) => (end = resolve)));
  const ended: string[] = [];

  const both = [asked.ask().then(() => ended.push("one")), asked.ask().then(() => ended.push("other"))];
  await clock.advance(1_000);
  expect(ended).toEqual([]);
  end();
  await Promise.all(both);

  expect(ended).toEqual(["one", "other"]);
});

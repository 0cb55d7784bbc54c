import { describe, expect, it } from "vitest";
import { DrainTime } from "../../src/launch/drain-time.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const TEN_MINUTES = 600_000;

/** Old servers that never finish by themselves. */
function setUp() {
  const clock = new VirtualClock();
  const drainTime = new DrainTime(clock, TEN_MINUTES);
  const begun = { at: 0, ended: -1 };
  const drain = () => {
    begun.at = clock.monotonic();
    begun.ended = -1;
    return drainTime.run(
      (ms, cut) =>
        new Promise((resolve) => {
          const end = () => {
            begun.ended = clock.monotonic() - begun.at;
            resolve();
          };
          const timer = clock.after(ms, end);
          cut.addEventListener("abort", () => {
            timer.cancel();
            end();
          });
        }),
    );
  };
  return { clock, drainTime, drain, begun };
}

describe("an old server", () => {
  it("has as long as the profile says", async () => {
    const { clock, drainTime, drain, begun } = setUp();

    const drained = drain();
    expect(drainTime.isUnderWay).toBe(true);
    await clock.advance(TEN_MINUTES);
    await drained;

    expect(begun.ended).toBe(TEN_MINUTES);
    expect(drainTime.isUnderWay).toBe(false);
  });

  it("has half a minute from the word that a key is being replaced, also if it drains already", async () => {
    const { clock, drainTime, drain, begun } = setUp();
    const drained = drain();
    await clock.advance(60_000);

    drainTime.hurry();
    await clock.advance(10_000);
    // Told again, it has no longer.
    drainTime.hurry();
    await clock.advance(20_000);
    await drained;

    expect(begun.ended).toBe(90_000);
  });

  it("has half a minute if it is that of the change which follows, and its time again after that", async () => {
    const { clock, drainTime, drain, begun } = setUp();

    drainTime.hurry();
    await clock.advance(2_000);
    const urgent = drain();
    await clock.advance(30_000);
    await urgent;
    expect(begun.ended).toBe(30_000);

    await clock.advance(TEN_MINUTES);
    const calm = drain();
    await clock.advance(TEN_MINUTES);
    await calm;
    expect(begun.ended).toBe(TEN_MINUTES);
  });

  it("is waited for, and what it fails with is the business of whoever drains it", async () => {
    const { drainTime } = setUp();

    const failing = drainTime.run(async () => {
      throw new Error("canary of a bug");
    });

    await expect(failing).rejects.toThrow("canary of a bug");
    await expect(drainTime.drained).resolves.toBeUndefined();
    expect(drainTime.isUnderWay).toBe(false);
  });
});

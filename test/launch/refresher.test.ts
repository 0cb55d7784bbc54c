import { describe, expect, it } from "vitest";
import { Refresher, type RefresherOptions } from "../../src/launch/refresher.ts";
import { settle, VirtualClock } from "../helpers/virtual-clock.ts";

const MINUTE = 60_000;

/** A refresher whose looks are noted, in minutes from the start, and answered by `answer`. */
function refreshing(
  answer: (nth: number, clock: VirtualClock) => Promise<readonly number[]>,
  options: Partial<RefresherOptions> = {},
) {
  const clock = new VirtualClock();
  const startedAt = clock.now();
  const looks: number[] = [];
  const failures: { message: string; retryMs: number }[] = [];
  const refresher = new Refresher({
    clock,
    random: () => 0.5,
    look: () => {
      looks.push((clock.now() - startedAt) / MINUTE);
      return answer(looks.length, clock);
    },
    onFailure: (error, retryMs) => failures.push({ message: (error as Error).message, retryMs }),
    ...options,
  });
  return { clock, looks, failures, refresher };
}

describe("a refresher", () => {
  it("looks every so often", async () => {
    const { clock, looks, refresher } = refreshing(async () => [], { everyMs: 15 * MINUTE });
    refresher.start([]);
    await clock.advance(50 * MINUTE);

    expect(looks).toEqual([15, 30, 45]);
  });

  it("looks when somebody asks, and counts from then on", async () => {
    const { clock, looks, refresher } = refreshing(async () => [], { everyMs: 15 * MINUTE });
    refresher.start([]);
    await clock.advance(10 * MINUTE);
    refresher.now();
    await clock.advance(20 * MINUTE);

    expect(looks).toEqual([10, 25]);
  });

  it("never looks twice at the same time: what is asked for meanwhile is one more look", async () => {
    let done: (times: readonly number[]) => void = () => undefined;
    const { looks, refresher } = refreshing(
      (nth) => (nth === 1 ? new Promise((resolve) => (done = resolve)) : Promise.resolve([])),
      {},
    );
    refresher.start([]);
    for (let times = 0; times < 3; times++) refresher.now();
    await settle();
    expect(looks).toHaveLength(1);
    done([]);
    await settle();

    expect(looks).toHaveLength(2);
  });

  it("tells the looks that somebody has asked for from those of the schedule", async () => {
    const asked: boolean[] = [];
    const { clock, refresher } = refreshing(async () => [], {
      everyMs: 15 * MINUTE,
      look: async (_signal, isAsked) => {
        asked.push(isAsked);
        return [];
      },
    });
    refresher.start([]);
    await clock.advance(15 * MINUTE);
    refresher.now();
    refresher.now();
    await settle();
    await clock.advance(15 * MINUTE);

    expect(asked).toEqual([false, true, true, false]);
  });

  it("looks by a given time, if nothing comes before", async () => {
    const { clock, looks, refresher } = refreshing(async () => [], { everyMs: 15 * MINUTE });
    refresher.start([clock.now() + 40 * MINUTE]);
    refresher.by(clock.now() + 5 * MINUTE);
    refresher.by(clock.now() + 9 * MINUTE);
    await clock.advance(21 * MINUTE);

    expect(looks).toEqual([5, 20]);
  });

  it("waits longer after each failure, up to five minutes, and begins anew after a success", async () => {
    const { clock, looks, failures, refresher } = refreshing(async (nth) => {
      if (nth !== 12) throw new Error(`no ${nth}`);
      return [];
    });
    refresher.start([]);
    refresher.now();
    await clock.advance(60 * MINUTE);
    expect(failures.map(({ retryMs }) => retryMs)).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000,
    ]);
    refresher.now();
    await settle();

    expect(looks).toHaveLength(13);
    expect(failures.at(-1)).toEqual({ message: "no 13", retryMs: 1_000 });
  });

  it("does not run wild over a time that stays in the past", async () => {
    const { clock, looks, refresher } = refreshing(async () => [clock.now() - 1]);
    refresher.start([clock.now()]);
    await clock.advance(60 * MINUTE);

    expect(looks.length).toBeGreaterThan(10);
    expect(looks.length).toBeLessThan(40);
  });

  it("gives up the look that is under way when it is stopped, and plans nothing more", async () => {
    const { clock, failures, looks, refresher } = refreshing(async () => [], {
      everyMs: MINUTE,
      look: (signal) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    refresher.start([]);
    refresher.now();
    await refresher.stop();
    refresher.now();
    refresher.by(clock.now());
    await clock.advance(10 * MINUTE);

    expect([failures, looks, clock.pending, refresher.dueAt]).toEqual([[], [], 0, undefined]);
  });
});

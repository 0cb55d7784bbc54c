import { describe, expect, it } from "vitest";
import { RestartPolicy } from "../../src/launch/restart-policy.ts";
import { refetchAfter, Schedule, type ScheduleOptions } from "../../src/launch/schedule.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

const MINUTE = 60_000;

function scheduled(options: Partial<ScheduleOptions>) {
  const clock = new VirtualClock();
  const due: number[] = [];
  const startedAt = clock.now();
  const onDue = () => due.push(clock.now() - startedAt);
  const schedule = new Schedule({ clock, random: () => 0.5, onDue, ...options });
  return { clock, due, schedule };
}

describe("a schedule", () => {
  it("is due once after each plan, with jitter of a tenth", async () => {
    for (const [random, expected] of [
      [0, 13.5],
      [0.5, 15],
      [1, 16.5],
    ] as const) {
      const { clock, due, schedule } = scheduled({ everyMs: 15 * MINUTE, random: () => random });
      schedule.plan();
      await clock.advance(60 * MINUTE);

      expect(due).toEqual([expected * MINUTE]);
    }
  });

  it("takes whatever comes first", async () => {
    const { clock, due, schedule } = scheduled({
      everyMs: 60 * MINUTE,
      nextByCron: (after) => after + 30 * MINUTE,
    });
    schedule.plan([clock.now() + 20 * MINUTE]);
    await clock.advance(120 * MINUTE);

    expect(due).toEqual([20 * MINUTE]);
  });

  it("is due at once, and once, after a sleep that its timers did not see", async () => {
    const { clock, schedule } = scheduled({ everyMs: 15 * MINUTE });
    let slept = 0;
    const asleep = new Schedule({
      clock: {
        now: () => clock.now() + slept,
        monotonic: () => clock.monotonic(),
        after: (ms, callback) => clock.after(ms, callback),
      },
      everyMs: 15 * MINUTE,
      random: () => 0.5,
      onDue: () => woken.push(clock.monotonic()),
    });
    const woken: number[] = [];
    asleep.plan();
    schedule.stop();
    slept = 60 * MINUTE;
    await clock.advance(MINUTE);
    await clock.advance(60 * MINUTE);

    expect(woken).toHaveLength(1);
  });

  it("is due at once when the clock was put back", async () => {
    const { clock } = scheduled({});
    let back = 0;
    const due: number[] = [];
    const schedule = new Schedule({
      clock: {
        now: () => clock.now() - back,
        monotonic: () => clock.monotonic(),
        after: (ms, callback) => clock.after(ms, callback),
      },
      everyMs: 15 * MINUTE,
      random: () => 0.5,
      onDue: () => due.push(clock.monotonic()),
    });
    schedule.plan();
    const before = clock.monotonic();
    back = 24 * 60 * MINUTE;
    await clock.advance(20 * MINUTE);

    expect(due).toEqual([before + MINUTE]);
  });

  it("is never due without anything to wait for, or once it was stopped", async () => {
    const idle = scheduled({});
    idle.schedule.plan();
    const stopped = scheduled({ everyMs: MINUTE });
    stopped.schedule.plan();
    stopped.schedule.stop();
    for (const { clock } of [idle, stopped]) await clock.advance(600 * MINUTE);

    expect([idle.due, stopped.due, idle.schedule.dueAt]).toEqual([[], [], undefined]);
  });

  it.each([
    [10 * 60 * MINUTE, 10 * 60 * MINUTE - 5 * MINUTE],
    [10 * MINUTE, 8.5 * MINUTE],
    [0, 1_000],
  ])("fetches what ends in %d ms after %d ms", (left, after) => {
    expect(refetchAfter(left)).toBe(after);
  });
});

describe("the policy of restarts", () => {
  it("doubles the wait up to half a minute, and begins anew after a long life", () => {
    const policy = new RestartPolicy();
    const waits = Array.from({ length: 9 }, () => policy.died(0, true));

    expect(waits).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    expect(policy.died(60_000, true)).toBe(200);
  });

  it("does not grow for a server that lives for a second each time, and shrinks for one that lives longer", () => {
    const policy = new RestartPolicy();
    const brief = Array.from({ length: 20 }, () => policy.died(1_000, true));
    for (let count = 0; count < 9; count++) policy.died(0, true);
    const longer = [policy.died(3_000, true), policy.died(3_000, true), policy.died(3_000, true)];

    expect(new Set(brief)).toEqual(new Set([200]));
    expect(longer).toEqual([3_750, 938, 235]);
  });

  it("gives up after five starts in a row that failed", () => {
    const policy = new RestartPolicy();
    const fail = () => policy.died(0, false);
    for (let count = 0; count < 4; count++) expect(fail()).toBeDefined();
    policy.cameUp();
    for (let count = 0; count < 4; count++) expect(fail()).toBeDefined();

    expect(fail()).toBeUndefined();
  });
});

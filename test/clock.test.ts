import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settledWithin, systemClock } from "../src/clock.ts";
import { VirtualClock } from "./helpers/virtual-clock.ts";

const DAY_MS = 86_400_000;

describe("the system's clock", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("waits longer than the 24.8 days that one timer of Node can wait", () => {
    const called = vi.fn();
    systemClock.after(60 * DAY_MS, called);

    vi.advanceTimersByTime(60 * DAY_MS - 1);
    expect(called).not.toHaveBeenCalled();

    vi.advanceTimersByTime(1);
    expect(called).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("can be told to stop in a later part of a long wait", () => {
    const called = vi.fn();
    const timer = systemClock.after(60 * DAY_MS, called);
    vi.advanceTimersByTime(30 * DAY_MS);

    timer.cancel();

    vi.advanceTimersByTime(90 * DAY_MS);
    expect(called).not.toHaveBeenCalled();
  });
});

describe("settledWithin", () => {
  it.each(["resolve", "reject"] as const)(
    "is over when the work is, and leaves no timer: %s",
    async (how) => {
      const clock = new VirtualClock();

      await settledWithin(
        clock,
        1_000,
        how === "resolve" ? Promise.resolve() : Promise.reject(new Error("no")),
      );

      expect(clock.pending).toBe(0);
    },
  );

  it("is over after its time, and what fails later is nobody's error", async () => {
    const clock = new VirtualClock();
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<void>((_resolve, reject) => {
      fail = reject;
    });
    const over = settledWithin(clock, 1_000, work);

    await clock.advance(1_000);
    await over;
    fail(new Error("too late"));

    expect(clock.pending).toBe(0);
  });
});

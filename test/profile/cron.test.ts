import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cronMistake, cronTimes, isTimeZone } from "../../src/profile/cron.ts";

/** The next `count` times after `start`, in UTC. */
async function timesOf(line: string, timezone: string, start: string, count: number): Promise<string[]> {
  const next = await cronTimes({ line, timezone });
  const times: string[] = [];
  let after: number | undefined = Date.parse(start);
  while (times.length < count) {
    after = next(after);
    if (after === undefined) break;
    times.push(new Date(after).toISOString().slice(0, 19));
  }
  return times;
}

describe("the times of a cron line", () => {
  it("are by the clock of its time zone, on both sides of summer time", async () => {
    expect(await timesOf("0 3 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3)).toEqual([
      "2026-03-28T02:00:00",
      "2026-03-29T01:00:00",
      "2026-03-30T01:00:00",
    ]);
    expect(await timesOf("0 3 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3)).toEqual([
      "2026-10-24T01:00:00",
      "2026-10-25T02:00:00",
      "2026-10-26T02:00:00",
    ]);
  });

  it("come after the hour that the clocks skip, and not on the day after", async () => {
    expect(await timesOf("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2)).toEqual([
      "2026-03-29T01:00:00",
      "2026-03-30T00:30:00",
    ]);
  });

  it.each(["2026-10-25T00:00:00Z", "2026-10-24T12:00:00Z"])(
    "come once in the hour that the clocks repeat, seen from %s",
    async (start) => {
      expect(await timesOf("30 2 * * *", "Europe/Berlin", start, 2)).toEqual([
        "2026-10-25T00:30:00",
        "2026-10-26T01:30:00",
      ]);
    },
  );

  it("go on through both hours when there are many a day", async () => {
    expect(await timesOf("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4)).toEqual([
      "2026-10-25T00:30:00",
      "2026-10-25T01:00:00",
      "2026-10-25T01:30:00",
      "2026-10-25T02:00:00",
    ]);
  });

  it("may have seconds", async () => {
    expect(await timesOf("*/20 0 0 1 1 *", "UTC", "2025-12-31T23:59:59.500Z", 4)).toEqual([
      "2026-01-01T00:00:00",
      "2026-01-01T00:00:20",
      "2026-01-01T00:00:40",
      "2027-01-01T00:00:00",
    ]);
  });

  it("are those of either day where both are named", async () => {
    expect(await timesOf("0 0 15 * MON", "UTC", "2026-01-11T00:00:00Z", 3)).toEqual([
      "2026-01-12T00:00:00",
      "2026-01-15T00:00:00",
      "2026-01-19T00:00:00",
    ]);
  });

  it.each(["0 3 * * *", "30 2 * * *", "*/7 * * * *", "59 59 23 L * *", "* * * * * *"])(
    "of %s are never in the past, nor now",
    async (line) => {
      const zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];
      const nexts = await Promise.all(zones.map((timezone) => cronTimes({ line, timezone })));
      const hours = ["2026-03-29T01:00Z", "2026-10-25T01:00Z", "2026-03-08T07:00Z", "2026-11-01T06:00Z"];
      const around = fc.tuple(fc.constantFrom(...hours), fc.integer({ min: -7_200_000, max: 7_200_000 }));
      const [least, most] = [Date.UTC(2020, 0), Date.UTC(2090, 0)];
      const times = fc.oneof(
        fc.integer({ min: least, max: most }),
        around.map(([hour, ms]) => Date.parse(hour) + ms),
      );
      fc.assert(
        fc.property(fc.constantFrom(...nexts), times, (next, after) => {
          const first = next(after) as number;

          expect(first).toBeGreaterThan(after);
          expect(next(first)).toBeGreaterThan(first);
          expect(next(first - 1)).toBe(first);
        }),
        { numRuns: 200 },
      );
    },
  );

  it("end where the line has no other", async () => {
    const next = await cronTimes({ line: "0 0 30 2 *", timezone: "UTC" });

    expect(next(Date.UTC(2026, 0))).toBeUndefined();
  });
});

describe("a cron line", () => {
  it.each(["0 3 * * *", "*/5 8-18 * * MON-FRI", "0 0 29 2 *", "0,30 * * * * *", "0 0 L * *", " 0  3 * * 7 "])(
    "%j is well",
    async (line) => {
      expect(await cronMistake(line)).toBeUndefined();
    },
  );

  it.each([
    ["", "it must have five fields"],
    ["* * * *", "it must have five fields"],
    ["0 0 0 1 1 * 2030", "it must have five fields"],
    ["@daily", "it must have five fields"],
    ["2030-01-01T00:00:00", "it must have five fields"],
    ["60 * * * *", "its minute can't be read"],
    ["60 0 * * * *", "its second can't be read"],
    ["* 24 * * *", "its hour can't be read"],
    ["* * 0 * *", "its day of the month can't be read"],
    ["* * * 13 *", "its month can't be read"],
    ["* * * * FOO", "its day of the week can't be read"],
    ["*/0 * * * *", "its minute can't be read"],
    ["30-10 * * * *", "its minute can't be read"],
    ["-5 * * * *", "its minute can't be read"],
    ["1e1 * * * *", "its minute can't be read"],
    ["0 0 30 2 *", "there is no such day in any year"],
    ["0 0 31 4,6,9,11 *", "there is no such day in any year"],
  ])("%j is refused", async (line, expected) => {
    expect((await cronMistake(line))?.message).toContain(expected);
  });
});

describe("a time zone", () => {
  it.each(["Europe/Berlin", "UTC", "America/Argentina/Ushuaia", "Asia/Calcutta"])("is %s", (name) => {
    expect(isTimeZone(name)).toBe(true);
  });

  it.each(["", "Berlin", "Mars/Olympus", "+01:00", "-05", "GMT+1", "Europe/Berlin "])("is not %j", (name) => {
    expect(isTimeZone(name)).toBe(false);
  });
});

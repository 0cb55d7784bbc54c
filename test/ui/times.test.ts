import { expect, it } from "vitest";
import { timeText } from "../../src/ui/times.ts";

it.each([
  ["2026-11-21T08:29:36.123Z", "2026-11-21 08:29:36Z"],
  ["2026-11-21T08:29:36Z", "2026-11-21 08:29:36Z"],
  ["no time", "no time"],
])("a time in a table is to the second, and what is none stays as it is: %s", (iso, shown) => {
  expect(timeText(iso)).toBe(shown);
});

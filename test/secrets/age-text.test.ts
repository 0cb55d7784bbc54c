import { expect, it } from "vitest";
import { ageText } from "../../src/secrets/age-text.ts";

it.each([
  [-5, "0 s"],
  [400, "0 s"],
  [59_400, "59 s"],
  [59_600, "1 min"],
  [3_599_000, "59 min"],
  [3_600_000, "1 h"],
  [11_400_000, "3 h 10 min"],
  [86_400_000, "1 d"],
  [187_200_000, "2 d 4 h"],
])("%i ms are «%s»", (ms, text) => {
  expect(ageText(ms)).toBe(text);
});

import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { exitCodeOf, exitStatusOf } from "../../src/launch/exit-status.ts";

describe("the exit code", () => {
  it.each([0, 1, 7, 126, 255])("of a program that ended with %i is its own", (code) => {
    expect(exitCodeOf(exitStatusOf(code, null))).toBe(code);
  });

  it.each([
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGQUIT", 131],
    ["SIGKILL", 137],
    ["SIGSEGV", 139],
    ["SIGPIPE", 141],
    ["SIGTERM", 143],
  ] as const)("after %s is %i", (signal, code) => {
    expect(exitCodeOf(exitStatusOf(null, signal))).toBe(code);
  });

  it("is 128 and the number for every signal that this system knows", () => {
    for (const [signal, number] of Object.entries(constants.signals)) {
      expect(exitCodeOf({ type: "signalled", signal: signal as NodeJS.Signals })).toBe(128 + number);
    }
  });
});

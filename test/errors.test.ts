import { describe, expect, it } from "vitest";
import { EXIT_CODES, InterruptedError, McpRunError, ProviderError, systemErrorCode } from "../src/errors.ts";

describe("exit codes", () => {
  it("are the interface that other programs are written against", () => {
    expect(EXIT_CODES).toEqual({
      usage: 64,
      "profile-not-found": 66,
      "backend-unavailable": 69,
      internal: 70,
      "rotation-incomplete": 75,
      "access-denied": 77,
      "profile-invalid": 78,
      "secret-invalid": 78,
      "audit-invalid": 78,
      "command-not-executable": 126,
      "command-not-found": 127,
    });
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGQUIT", 131],
  ] as const)("of a start that %s interrupted is %i", (signal, exitCode) => {
    expect(new InterruptedError(signal).exitCode).toBe(exitCode);
  });

  it("follow from why a provider failed", () => {
    expect(new ProviderError("denied", "x").exitCode).toBe(77);
    expect(new ProviderError("unavailable", "x").exitCode).toBe(69);
    expect(new ProviderError("missing", "x")).toBeInstanceOf(McpRunError);
  });
});

describe("systemErrorCode", () => {
  it.each([
    [Object.assign(new Error("x"), { code: "ENOENT" }), "ENOENT"],
    [Object.assign(new Error("x"), { code: 5 }), undefined],
    [new Error("x"), undefined],
    [undefined, undefined],
    ["ENOENT", undefined],
  ])("of %o is %s", (error, code) => {
    expect(systemErrorCode(error)).toBe(code);
  });
});

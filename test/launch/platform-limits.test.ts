import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { checkPlatformLimits, type Launchable } from "../../src/launch/platform-limits.ts";

const CANARY = "canary-91bb";
const KIB = 1024;

function problem(changes: Partial<Launchable>): McpRunError | undefined {
  const secretNames = new Set(["TOKEN"]);
  try {
    checkPlatformLimits({ command: "srv", args: [], env: {}, secretNames, platform: "linux", ...changes });
    return undefined;
  } catch (error) {
    if (error instanceof McpRunError) return error;
    throw error;
  }
}

/** NAME=value of this many bytes. */
function tokenOf(bytes: number): string {
  return CANARY + "x".repeat(bytes - "TOKEN=".length - CANARY.length);
}

describe("what the platform would refuse", () => {
  it("passes an ordinary launch", () => {
    expect(problem({ args: ["-y", ""], env: { TOKEN: CANARY, EMPTY: "" } })).toBeUndefined();
  });

  it("names a secret with a NUL byte, and not its value", () => {
    const error = problem({ env: { TOKEN: `${CANARY}\0` } });

    expect(error?.message).toBe(
      "Cannot start srv: secret TOKEN holds a NUL byte, which no variable can carry",
    );
    expect(error?.code).toBe("secret-invalid");
    expect(JSON.stringify(error)).not.toContain(CANARY);
  });

  it("names a secret over 128 KiB on Linux, its size, and the mend", () => {
    const error = problem({ env: { TOKEN: tokenOf(128 * KIB) } });

    expect(error?.message).toBe(
      "Cannot start srv: secret TOKEN is too long: 131,072 bytes, and Linux takes 131,071",
    );
    expect(error?.hint).toContain("deliver: file");
    expect(`${error?.message}${error?.hint}`).not.toContain(CANARY);
  });

  it.runIf(process.platform === "linux")("draws the line where the kernel draws it", () => {
    const fits = { TOKEN: tokenOf(128 * KIB - 1) };
    const tooLong = { TOKEN: tokenOf(128 * KIB) };

    expect(problem({ env: fits })).toBeUndefined();
    expect(spawnSync("/bin/true", [], { env: fits }).error).toBeUndefined();
    expect(problem({ env: tooLong })).toBeDefined();
    expect(spawnSync("/bin/true", [], { env: tooLong }).error).toMatchObject({ code: "E2BIG" });
  });

  it("counts bytes, not characters", () => {
    expect(problem({ env: { TOKEN: "é".repeat(65_533) } })).toBeDefined();
    expect(problem({ env: { TOKEN: "e".repeat(65_533) } })).toBeUndefined();
  });

  it("has no bound for one string on macOS, but one for all", () => {
    expect(problem({ env: { TOKEN: tokenOf(512 * KIB) }, platform: "darwin" })).toBeUndefined();
    expect(problem({ env: { TOKEN: tokenOf(1024 * KIB) }, platform: "darwin" })?.message).toBe(
      "Cannot start srv: its arguments and environment come to 1,048,597 bytes, and this platform takes " +
        "1,048,576; the largest is secret TOKEN with 1,048,585",
    );
  });

  it.each([
    [32_766, false],
    [32_767, true],
  ])("bounds a variable of %i characters on Windows: %s", (characters, refused) => {
    expect(problem({ env: { TOKEN: tokenOf(characters) }, platform: "win32" }) !== undefined).toBe(refused);
  });

  it("bounds the command line on Windows", () => {
    expect(problem({ args: ["x".repeat(20_000), "y".repeat(20_000)], platform: "win32" })?.message).toMatch(
      /^Cannot start srv: its command line has 40,0\d\d characters/,
    );
  });

  it("adds everything up on Linux and blames the profile where no secret is large", () => {
    const env = Object.fromEntries(
      Array.from({ length: 30 }, (_, index) => [`V${index}`, "x".repeat(100_000)]),
    );

    expect(problem({ env })).toMatchObject({ code: "profile-invalid" });
  });

  it("names an argument by its place only", () => {
    const error = problem({ args: ["a", `${CANARY}\0`, "x".repeat(128 * KIB)] });

    expect(error).toMatchObject({
      code: "profile-invalid",
      message: "Cannot start srv: argument 2 holds a NUL byte",
      details: ["argument 3 is too long: 131,072 bytes, and Linux takes 131,071"],
    });
  });
});

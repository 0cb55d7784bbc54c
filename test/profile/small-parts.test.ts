import { describe, expect, it } from "vitest";
import { nearest, nearestFew } from "../../src/nearest.ts";
import { parseDuration, parseSize } from "../../src/profile/quantities.ts";
import { RESERVED_PROFILE_NAMES } from "../../src/profile/reserved-names.ts";

describe("a duration", () => {
  it.each([
    ["0ms", 0],
    ["1500ms", 1_500],
    ["1.5s", 1_500],
    ["15m", 900_000],
    ["24h", 86_400_000],
    ["90d", 7_776_000_000],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "15", "15 m", "-1s", "1e3s", "s", "1.s", ".5s", "15M", "1m30s", `${"9".repeat(20)}s`])(
    "is not %j",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});

describe("a size", () => {
  it.each([
    ["1B", 1],
    ["64KiB", 65_536],
    ["64MiB", 67_108_864],
    ["1GiB", 1_073_741_824],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(["64", "64MB", "64 MiB", "1.5MiB", "-1B", "mib"])("is not %j", (text) => {
    expect(parseSize(text)).toBeUndefined();
  });
});

describe("the nearest word", () => {
  it.each([
    ["secrects", "secrets"],
    ["Command", "command"],
    ["desc", "description"],
    ["evn", "env"],
    ["envs", "env"],
  ])("to %s is %s", (word, expected) => {
    expect(nearest(word, ["command", "secrets", "env", "description", "args"])).toBe(expected);
  });

  it.each(["", "x", "zzzzzz", "a".repeat(100)])("to %j there is none", (word) => {
    expect(nearest(word, ["command", "secrets", "env"])).toBeUndefined();
  });

  it("may be several, the nearest first", () => {
    expect(nearestFew("githob", ["gitlab", "github", "gitea", "github-work"], 2)).toEqual([
      "github",
      "gitlab",
    ]);
  });
});

describe("the names that no profile can have", () => {
  it("are the commands", () => {
    expect(RESERVED_PROFILE_NAMES).toEqual([
      ...["run", "exec", "check", "status", "secrets", "audit", "fleet", "init", "schema", "help"],
      ...["rotate", "import", "login", "logout", "completion"],
    ]);
  });
});

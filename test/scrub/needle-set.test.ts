import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { NeedleSet } from "../../src/scrub/needle-set.ts";
import { scrubText } from "../../src/scrub/scrub-stream.ts";
import { Secret } from "../../src/secrets/secret.ts";

describe("a needle set", () => {
  test("counts its changes, and hands out the same search until the next one", () => {
    const set = new NeedleSet();
    const before = set.revision;
    set.add("A", new Secret("canary-1"));
    const search = set.matcher();

    expect(set.revision).toBe(before + 1);
    expect(set.matcher()).toBe(search);
    set.add("A", new Secret("canary-2"));
    expect(set.revision).toBe(before + 2);
    expect(set.matcher()).not.toBe(search);
  });

  test("does not change when a value comes again", () => {
    const set = new NeedleSet();
    set.add("A", new Secret("canary-1"));
    const search = set.matcher();
    set.add("A", new Secret("canary-1"));
    expect(set.matcher()).toBe(search);
  });

  test("remembers the last 8 values of each secret", () => {
    const set = new NeedleSet();
    set.add("B", new Secret("canary-b"));
    for (let value = 1; value <= 9; value++) set.add("A", new Secret(`canary-${value}`));
    expect(scrubText("canary-1 canary-2 canary-9 canary-b.", set)).toBe(
      "canary-1 [mcp-run:A] [mcp-run:A] [mcp-run:B].",
    );
  });

  test("counts a value that came again as new", () => {
    const set = new NeedleSet();
    for (const value of [1, 2, 3, 4, 5, 6, 7, 8, 1, 9]) set.add("A", new Secret(`canary-${value}`));
    expect(scrubText("canary-1 canary-2.", set)).toBe("[mcp-run:A] canary-2.");
  });

  test("remembers a kept value until each keeper has released it once", () => {
    const set = new NeedleSet();
    const first = set.keep("A", new Secret("canary-old"));
    const second = set.keep("A", new Secret("canary-old"));
    for (let value = 1; value <= 9; value++) set.add("A", new Secret(`canary-${value}`));
    const shown = () => scrubText("canary-old.", set);

    expect(shown()).toBe("[mcp-run:A].");
    first.release();
    first.release();
    expect(shown()).toBe("[mcp-run:A].");
    second.release();
    expect(shown()).toBe("canary-old.");
  });

  test("does not count kept values among the 8, nor forget a young value that is released", () => {
    const set = new NeedleSet();
    const kept = set.keep("A", new Secret("canary-old"));
    for (let value = 1; value <= 8; value++) set.add("A", new Secret(`canary-${value}`));
    const young = set.keep("A", new Secret("canary-8"));
    young.release();
    expect(scrubText("canary-old canary-1 canary-8.", set)).toBe("[mcp-run:A] [mcp-run:A] [mcp-run:A].");
    kept.release();
    expect(scrubText("canary-old canary-1 canary-8.", set)).toBe("canary-old [mcp-run:A] [mcp-run:A].");
  });

  test("calls a value that two secrets share after the first, however often either is added again", () => {
    const set = new NeedleSet();
    set.add("FIRST", new Secret("canary-1"));
    set.add("SECOND", new Secret("canary-1"));
    expect(scrubText("canary-1.", set)).toBe("[mcp-run:FIRST].");
    set.add("SECOND", new Secret("canary-2"));
    set.add("FIRST", new Secret("canary-3"));
    set.add("SECOND", new Secret("canary-1"));
    expect(scrubText("canary-1.", set)).toBe("[mcp-run:FIRST].");
  });

  test("calls a value after the secret whose value it is, not after one of which it is a variant", () => {
    const set = new NeedleSet();
    set.add("DATABASE_URL", new Secret("postgres://app:canary-pw@db/app"));
    set.add("PGPASSWORD", new Secret("canary-pw"));
    expect(scrubText("canary-pw postgres://app:canary-pw@db/app.", set)).toBe(
      "[mcp-run:PGPASSWORD] [mcp-run:DATABASE_URL].",
    );
  });

  test("names values that are too short, and does not hide them", () => {
    const set = new NeedleSet();
    set.add("A", new Secret("abc"));
    expect(set.tooShort(new Secret("abc"))).toBe(true);
    expect(set.tooShort(new Secret("abcd"))).toBe(false);
    expect(scrubText("abc abc.", set)).toBe("abc abc.");
  });

  test("searches for long values in pieces of about 4 KB that mend to one mask", () => {
    const set = new NeedleSet();
    const value = "canary-0123456789".repeat(3000);
    set.add("LONG", new Secret(value));
    expect(set.matcher().table.longest).toBeLessThanOrEqual(4096 + 256);
    expect(scrubText(`<${value}>`, set)).toBe("<[mcp-run:LONG]>");
  });

  test("does not show a value when it is inspected or serialised", () => {
    const set = new NeedleSet();
    set.add("A", new Secret("canary-7f3a"));
    const shown = inspect(set, { depth: 10, showHidden: true }) + JSON.stringify(set);
    expect(shown).not.toContain("canary");
  });
});

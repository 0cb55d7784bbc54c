import { describe, expect, test } from "vitest";
import { Matcher } from "../../src/scrub/matcher.ts";
import { everyCut, fixedNeedles, named, scrubbed } from "./oracle.ts";

function maskAgainst(label: string, ...values: string[]): string {
  const needles = [Buffer.from("canary-of-this-one"), ...values.map((value) => Buffer.from(value))];
  return new Matcher(needles.map((bytes) => ({ label, bytes }))).maskOf(0).toString();
}

describe("the mask", () => {
  test("is [mcp-run:NAME]", () => {
    expect(maskAgainst("GITHUB_TOKEN")).toBe("[mcp-run:GITHUB_TOKEN]");
  });

  test.each([
    ["the name itself", ["GITHUB_TOKEN"], "[hidden]"],
    ["a part of the mask", ["mcp-run"], "[hidden]"],
    ["the mask itself", ["[mcp-run:GITHUB_TOKEN]"], "<mcp-run:GITHUB_TOKEN>"],
    ["a text around the mask", ["see [mcp-run:GITHUB_TOKEN] there"], "<mcp-run:GITHUB_TOKEN>"],
    ["something that ends as the mask begins", ["canary["], "<mcp-run:GITHUB_TOKEN>"],
    ["something that ends with more of the mask", ["canary[mcp"], "<mcp-run:GITHUB_TOKEN>"],
    ["something that begins as the mask ends", ["]canary"], "<mcp-run:GITHUB_TOKEN>"],
    ["something that begins with more of the mask's end", ["TOKEN]canary"], "<mcp-run:GITHUB_TOKEN>"],
    ["the mask and the word for a nameless one", ["mcp-run", "hidden"], "[***]"],
    ["every frame", ["canary[", "canary<", "canary{", "canary(", "canary«", "canary‹", "canary⟦"], "███"],
    ["every word and most frames", ["canary[", "canary<", "mcp-run", "hidden"], "{***}"],
  ])("gives way to a needle that is %s", (_what, values, wanted) => {
    expect(maskAgainst("GITHUB_TOKEN", ...values.map((value) => value.padStart(4, "-")))).toBe(wanted);
  });

  test("stays when brackets stand only where they can't meet it", () => {
    expect(maskAgainst("A", '["x","y"]', "a[b]c", "[[[[x", "x]]]]")).toBe("[mcp-run:A]");
  });

  test("shows no control characters of a name", () => {
    expect(maskAgainst("A\u001b[2J\nB")).toBe("[mcp-run:A?[2J?B]");
  });

  test("never completes a needle with what stands beside it", () => {
    const needles = named("canary[", "]canary", "x[mcp-run:N0]y", "plain-canary");
    const stream = Buffer.from("canaryplain-canary canary[canary plain-canarycanary xcanary[y]");
    for (const chunks of everyCut(stream)) {
      const out = scrubbed(fixedNeedles(needles), chunks).toString();
      for (const { bytes } of needles) expect(out).not.toContain(bytes.toString());
    }
  });
});

/**
 * What a session takes of the heap, in a process of its own. Nothing is compiled there: the machine code that V8
 * makes as it goes on counts as heap too, and is not what a session keeps.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Memory } from "../helpers/memory-runner.ts";

const LIMIT_MS = 600_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-run-memory-"));
  const input = join(import.meta.dirname, "../helpers/memory-runner.ts");
  const bundle = await rolldown({ input, platform: "node", external: [/^node:/], logLevel: "silent" });
  await bundle.write({ file: join(folder, "runner.mjs"), format: "esm" });
});
afterAll(() => rm(folder, { recursive: true }));

async function run<When extends string>(...args: readonly string[]): Promise<Record<When, Memory>> {
  const flags = ["--expose-gc", "--no-opt", "--no-sparkplug"];
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [...flags, join(folder, "runner.mjs"), ...args],
    { timeout: LIMIT_MS },
  );
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

describe.skipIf(process.platform === "win32")("the memory of a session", () => {
  it("does not grow over 1,000 rotations, each with a new secret and a subscription", {
    timeout: LIMIT_MS,
  }, async () => {
    const { afterFirst, afterLast } = await run<"afterFirst" | "afterLast">("rotations", "100", "1000");

    expect(afterLast.heapUsed).toBeLessThan(afterFirst.heapUsed * 1.05);
    expect(afterLast.buffers).toBeLessThan(afterFirst.buffers + 100_000);
  });

  it("is bounded with 10,000 requests in flight, and given back once they are answered", {
    timeout: LIMIT_MS,
  }, async () => {
    const { before, waiting, after } = await run<"before" | "waiting" | "after">("in-flight", "10000");

    expect(waiting.heapUsed - before.heapUsed).toBeGreaterThan(100_000); // they are kept in mind
    expect(waiting.heapUsed - before.heapUsed).toBeLessThan(10_000 * 500);
    expect(after.heapUsed).toBeLessThan(before.heapUsed * 1.05);
  });
});

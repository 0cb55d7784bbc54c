import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("the demo of the README holds, line by line", async () => {
  // It is a dozen mcp-runs, one after another. An error at any exit code but 0, with what it said.
  const program = [join(import.meta.dirname, "demo.mjs")];
  const running = promisify(execFile)(process.execPath, program, { timeout: 170_000 });
  const demo = await running.catch((error: Error & { stdout: string }) => error);

  expect(demo.stdout).not.toContain("✘");
  expect(demo.stdout.match(/✔/g)?.length).toBeGreaterThanOrEqual(17);
  expect(demo.stdout).not.toContain("canary-");
  expect(demo).not.toBeInstanceOf(Error);
}, 180_000);

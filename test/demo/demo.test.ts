import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

it("the demo of the README holds, line by line", () => {
  const demo = spawnSync(process.execPath, [join(import.meta.dirname, "demo.mjs")], {
    encoding: "utf8",
    timeout: 55_000,
  });

  expect(demo.stdout).not.toContain("✘");
  expect(demo.stdout.match(/✔/g)?.length).toBeGreaterThanOrEqual(17);
  expect(demo.stdout).not.toContain("canary-");
  expect(demo.status).toBe(0);
}, 180_000);

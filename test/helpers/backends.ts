/**
 * Tests against a real backend: without its programs they are skipped with the reason, and under
 * MCP_RUN_REQUIRE_BACKENDS=1 (in CI) that is a failure.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, it } from "vitest";

/** Like describe, for a backend that needs these programs. */
export function describeBackend(name: string, programs: readonly string[], tests: () => void): void {
  const absent = programs.filter((program) => !isInPath(program));
  if (absent.length === 0) {
    describe(name, tests);
    return;
  }
  const reason = `not here: ${absent.join(", ")} (.ci/install-backends installs them)`;
  it(`${name} can be tested on this machine`, (context) => {
    if (process.env.MCP_RUN_REQUIRE_BACKENDS === "1") throw new Error(reason);
    process.stderr.write(`Skipped ${name}: ${reason}\n`);
    context.skip(reason);
  });
}

function isInPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

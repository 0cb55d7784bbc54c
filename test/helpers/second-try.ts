/**
 * For a vitest config. A test with real processes and real time may fail for the machine's sake: it is run a second
 * time, and named at the end with what went wrong at first, so that nobody overlooks one that fails now and then. What
 * nobody listens to counts as the failure of its test, and not of the whole run.
 */
import { relative } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

export const secondTry = {
  retry: 1,
  setupFiles: ["./test/helpers/unheard.ts"],
  reporters: ["default", { onTestRunEnd: tellOfSecondTries }] satisfies (string | Reporter)[],
};

function tellOfSecondTries(modules: readonly TestModule[]): void {
  const flaky = modules.flatMap((module) => [...module.children.allTests()]).filter(isFlaky);
  if (flaky.length === 0) return;
  const reports = flaky.map((test) => `\n  ${nameOf(test)}\n${firstErrorOf(test)}`);
  process.stderr.write(`\nPassed only at the second try: ${flaky.length}${reports.join("")}\n`);
}

function isFlaky(test: TestCase): boolean {
  return test.diagnostic()?.flaky === true;
}

function nameOf(test: TestCase): string {
  return `${relative(process.cwd(), test.module.moduleId)} > ${test.fullName}`;
}

/** Without the test runner's own frames. */
function firstErrorOf(test: TestCase): string {
  const [error] = test.result().errors ?? [];
  const lines = (error?.stack ?? error?.message ?? "no error was kept").split("\n");
  return lines
    .filter((line) => !line.includes("node_modules"))
    .map((line) => `    ${line}`)
    .join("\n");
}

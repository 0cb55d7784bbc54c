import { defineConfig } from "vitest/config";
import { secondTry } from "./test/helpers/second-try.ts";

/** Providers against real backends: needs what .ci/install-backends installs. */
export default defineConfig({
  test: {
    ...secondTry,
    include: ["test/backends/**/*.test.ts"],
    // They wait more than they work, and each file has servers of its own.
    maxWorkers: 2,
    // For a machine that has much else to do; a hook may have to start a server twice (test/helpers/server-process.ts).
    testTimeout: 300_000,
    hookTimeout: 360_000,
  },
});

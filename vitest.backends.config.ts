import { defineConfig } from "vitest/config";

/** Providers against real backends: needs what .ci/install-backends installs. */
export default defineConfig({
  test: {
    include: ["test/backends/**/*.test.ts"],
    // For a machine that has much else to do.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});

import { defineConfig } from "vitest/config";

/** Providers against real backends: needs what .ci/install-backends installs. */
export default defineConfig({
  test: {
    include: ["test/backends/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

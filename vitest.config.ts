import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/backends/**", "test/soak/**"],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // Most tests wait for processes: one worker for each core is not too many, and the default is one less.
    maxWorkers: "100%",
  },
});

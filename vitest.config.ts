import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/backends/**"],
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});

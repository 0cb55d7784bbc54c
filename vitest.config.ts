import { defineConfig } from "vitest/config";
import { secondTry } from "./test/helpers/second-try.ts";

export default defineConfig({
  test: {
    ...secondTry,
    include: ["test/**/*.test.ts"],
    exclude: ["test/backends/**", "test/soak/**"],
    // For a machine that has much else to do: what is awaited comes at once on a quiet one.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 30_000 } },
    // Most tests wait for processes: one worker for each core is not too many, and the default is one less.
    maxWorkers: "100%",
  },
});

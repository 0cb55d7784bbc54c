import { defineConfig } from "vitest/config";
import { secondTry } from "./test/helpers/second-try.ts";

/** The built program under load, through many changes of its server: minutes, one file at a time. */
export default defineConfig({
  test: {
    ...secondTry,
    include: ["test/soak/**/*.test.ts"],
    testTimeout: 480_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});

import { defineConfig } from "rolldown";

/**
 * One CommonJS core (it loads faster than ESM on Node 20), and a lazy chunk for every `import()`:
 * each command and each backend is read from disk only when it is used.
 */
export default defineConfig({
  input: { main: "src/main.ts", "keychain-helper": "providers/keychain-helper.ts" },
  platform: "node",
  external: [/^node:/, "@napi-rs/keyring"],
  output: {
    dir: "dist",
    format: "cjs",
    entryFileNames: "[name].cjs",
    chunkFileNames: "chunks/[name]-[hash].cjs",
    cleanDir: true,
    minify: true,
  },
});

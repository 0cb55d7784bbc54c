/** What a launch loads. Every module here is paid for at each start. */
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");

/** Everything that `file` imports statically, and not only for its types: files of ours, and packages. */
async function loadedBy(file: string, seen = new Set<string>()): Promise<Set<string>> {
  seen.add(relative(ROOT, file));
  const source = await readFile(file, "utf8");
  for (const [, clause = "", specifier = ""] of source.matchAll(/^import ([^;]*?from )?"([^"]+)";$/gm)) {
    if (clause.startsWith("type ")) continue;
    if (!specifier.startsWith(".")) seen.add(specifier);
    else {
      const next = join(dirname(file), specifier);
      if (!seen.has(relative(ROOT, next))) await loadedBy(next, seen);
    }
  }
  return seen;
}

test("opening and reading a store loads node's own modules, zod, and nothing that only a write needs", async () => {
  const loaded = await loadedBy(join(ROOT, "providers/local.ts"));

  expect([...loaded].filter((name) => !name.endsWith(".ts")).sort()).toEqual([
    "node:crypto",
    "node:fs",
    "node:os",
    "node:path",
    "node:util",
    "zod/mini",
  ]);
  expect([...loaded].filter((name) => name.startsWith("providers/")).sort()).toEqual([
    "providers/local.ts",
    "providers/local/age/bech32.ts",
    "providers/local/age/header.ts",
    "providers/local/age/keys.ts",
    "providers/local/age/payload.ts",
    "providers/local/age/unwrap.ts",
    "providers/local/archive.ts",
    "providers/local/document.ts",
    "providers/local/file-error.ts",
    "providers/local/identity-key.ts",
    "providers/local/identity.ts",
    "providers/local/passphrase-key.ts",
    "providers/local/places.ts",
    "providers/local/read-file.ts",
    "providers/local/recipients.ts",
    "providers/local/store.ts",
  ]);
});

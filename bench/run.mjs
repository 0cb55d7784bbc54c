/** `npm run bench`: every benchmark, one after the other, a table each. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

const NOT_BENCHMARKS = ["run.mjs", "pairs.mjs"];
const benchmarks = readdirSync(import.meta.dirname).filter(
  (file) => file.endsWith(".mjs") && !NOT_BENCHMARKS.includes(file),
);
for (const file of benchmarks.sort()) {
  console.log(`\n# ${file}`);
  await import(join(import.meta.dirname, file));
}

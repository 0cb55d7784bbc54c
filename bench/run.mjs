/** `npm run bench`: every benchmark, one after the other, a table each; `npm run bench -- fleet` only that. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

const NOT_BENCHMARKS = ["run.mjs", "pairs.mjs"];
const wanted = process.argv.slice(2);
const benchmarks = readdirSync(import.meta.dirname).filter(
  (file) => file.endsWith(".mjs") && !NOT_BENCHMARKS.includes(file),
);
for (const file of benchmarks.sort()) {
  if (wanted.length > 0 && !wanted.includes(file.replace(".mjs", ""))) continue;
  console.log(`\n# ${file}`);
  await import(join(import.meta.dirname, file));
}

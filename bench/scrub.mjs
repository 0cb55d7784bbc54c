// How fast the scrubber is: log-like text in 64 KiB chunks, no hit and one hit a KB, against copying the same
// chunks. The rounds of all rows are interleaved and the medians compared, so that a busy machine hits all
// alike. Usage: node bench/scrub.mjs [ROUNDS]
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";

const CHUNK_BYTES = 65_536;
const CHUNKS = 256;
const ROUNDS = Number(process.argv[2] ?? 21);

const scrub = await loadScrubRoom();

// Measured first, while nothing is compiled yet, as at the start of mcp-run.
const buildMs = timeBuild(5);

const random = mulberry32(20260102);
const text = logText(CHUNK_BYTES * CHUNKS);
const rows = [
  { name: "5 needles", tokens: tokens(5), exact: true },
  { name: "50 needles", tokens: tokens(50), exact: true },
  { name: "500 needles", tokens: tokens(500), exact: true },
  { name: "5 secrets in all variants", tokens: tokens(5), exact: false },
  { name: "50 secrets in all variants", tokens: tokens(50), exact: false },
  { name: "5 secrets, one of 4 characters", tokens: [...tokens(4), "q7#K"], exact: false },
].flatMap((row) => {
  const source = row.exact ? exactly(row.tokens) : setOf(row.tokens);
  const matcher = source.matcher();
  const count = row.exact ? "" : ` (${matcher.table.count} needles)`;
  return [
    { name: `${row.name}${count}, no hit`, source, chunks: cut(text) },
    { name: `${row.name}${count}, one hit a KB`, source, chunks: cut(withHits(text, row.tokens)) },
  ];
});

const copied = rows.map(() => []);
const scrubbed = rows.map(() => []);
for (let round = -2; round < ROUNDS; round++) {
  for (const [index, row] of rows.entries()) {
    const copy = time(() => copyAll(row.chunks));
    const hide = time(() => scrubAll(row.source, row.chunks));
    if (round < 0) continue; // the first rounds let the compiler see the code
    copied[index].push(copy);
    scrubbed[index].push(hide);
  }
}

console.log(`Scrubber: ${CHUNKS} chunks of ${CHUNK_BYTES} bytes, medians of ${ROUNDS} interleaved rounds`);
console.log(`Node ${process.version}; making the search for 5 secrets, cold: ${buildMs.toFixed(2)} ms\n`);
console.log("| row | MB/s | copy MB/s | ratio |\n| --- | ---: | ---: | ---: |");
for (const [index, row] of rows.entries()) {
  const bytes = row.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const speed = bytes / 1e3 / median(scrubbed[index]);
  const copySpeed = bytes / 1e3 / median(copied[index]);
  const ratio = median(copied[index].map((copy, round) => copy / scrubbed[index][round]));
  console.log(`| ${row.name} | ${speed.toFixed(0)} | ${copySpeed.toFixed(0)} | ${ratio.toFixed(2)} |`);
}

/** Bundles the room into a throw-away folder: plain Node 20 does not read TypeScript. */
async function loadScrubRoom() {
  const folder = await mkdtemp(join(tmpdir(), "mcp-run-bench-"));
  try {
    const room = resolve(import.meta.dirname, "../src/scrub");
    const entry = join(folder, "entry.ts");
    const files = ["scrubber", "needle-set", "matcher"].map((file) => join(room, `${file}.ts`));
    const secret = resolve(import.meta.dirname, "../src/secrets/secret.ts");
    await writeFile(
      entry,
      [...files, secret].map((file) => `export * from ${JSON.stringify(file)};`).join("\n"),
    );
    const bundle = await rolldown({ input: entry, platform: "node", external: [/^node:/] });
    await bundle.write({ file: join(folder, "scrub.mjs"), format: "esm" });
    await bundle.close();
    return await import(pathToFileURL(join(folder, "scrub.mjs")).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function timeBuild(count) {
  const values = Array.from({ length: count }, (_, index) => `canary-${index}-Zq8/w+Xk4vR2mTt7Lp0s`);
  const before = performance.now();
  const scrubber = new scrub.Scrubber(setOf(values));
  scrubber.push(Buffer.from("a first line\n"));
  return performance.now() - before;
}

function exactly(values) {
  const needles = values.map((value, index) => ({ bytes: Buffer.from(value), label: `NAME_${index}` }));
  const matcher = new scrub.Matcher(needles);
  return { matcher: () => matcher };
}

function setOf(values) {
  const set = new scrub.NeedleSet();
  for (const [index, value] of values.entries()) set.add(`NAME_${index}`, new scrub.Secret(value));
  return set;
}

function copyAll(chunks) {
  let total = 0;
  for (const chunk of chunks) total += Buffer.from(chunk).length;
  return total;
}

function scrubAll(source, chunks) {
  const scrubber = new scrub.Scrubber(source);
  let total = 0;
  for (const chunk of chunks) for (const piece of scrubber.push(chunk)) total += piece.length;
  for (const piece of scrubber.end()) total += piece.length;
  return total;
}

/** Milliseconds. */
function time(work) {
  const before = performance.now();
  work();
  return performance.now() - before;
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function cut(bytes) {
  const chunks = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    chunks.push(Buffer.from(bytes.subarray(at, at + CHUNK_BYTES)));
  }
  return chunks;
}

/** 20 to 40 characters, as API tokens have. */
function tokens(count) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  return Array.from({ length: count }, () => {
    const length = 20 + Math.floor(random() * 21);
    return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
  });
}

function withHits(bytes, values) {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 1024) {
    pieces.push(bytes.subarray(at, at + 1024), Buffer.from(values[Math.floor(random() * values.length)]));
  }
  return Buffer.concat(pieces).subarray(0, bytes.length);
}

function logText(length) {
  const words =
    "request response session tool call list resource prompt handler took ms status ok retry after timeout user connected closed error warning while reading config loaded from cache with id and".split(
      " ",
    );
  const pick = (list) => list[Math.floor(random() * list.length)];
  const lines = [];
  for (let total = 0; total < length; ) {
    const time = new Date(1_800_000_000_000 + total).toISOString();
    const count = 6 + Math.floor(random() * 12);
    const message = Array.from({ length: count }, () => pick(words)).join(" ");
    const id = Math.floor(random() * 2 ** 32).toString(16);
    const line = `${time} ${pick(["INFO", "WARN", "DEBUG"])} [${pick(["http", "mcp", "db"])}] ${message} id=${id} {"path":"/v1/${pick(words)}","ms":${Math.floor(random() * 900)}}\n`;
    lines.push(line);
    total += line.length;
  }
  return Buffer.from(lines.join("")).subarray(0, length);
}

function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * What a look at many running servers costs: `mcp-run status` as a whole process. The supervisors are sockets in one
 * other process, which has to answer them all by itself; real ones would share the work. Goal: 200 under 300 ms.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { inTurn, median, table } from "./pairs.mjs";

const MCP_RUN = join(import.meta.dirname, "../dist/main.cjs");
const ROUNDS = Number(process.env.ROUNDS ?? 20);
const COUNTS = [0, 10, 50, 200, 500];

const home = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
const places = [];
try {
  const script = await bundled();
  for (const count of COUNTS) places.push(await supervisors(script, count));
  const contestants = Object.fromEntries(places.map((place) => [place.count, () => timed(place)]));
  const measured = await inTurn(contestants, ROUNDS);
  console.log(`mcp-run status, Node ${process.version}, medians of ${ROUNDS} rounds in turn`);
  const rows = Object.entries(measured).map(([count, values]) => [
    count,
    median(values).toFixed(0),
    Math.max(...values).toFixed(0),
  ]);
  console.log(table([["supervisors", "ms", "ms at worst"], ...rows]));
} finally {
  for (const { process } of places) process.stdin.end();
  rmSync(home, { recursive: true, force: true });
}

async function bundled() {
  const file = join(home, "fake-supervisors.mjs");
  const input = join(import.meta.dirname, "fake-supervisors.ts");
  const bundle = await rolldown({ input, platform: "node", external: [/^node:/], logLevel: "silent" });
  await bundle.write({ file, format: "esm" });
  return file;
}

async function supervisors(script, count) {
  const place = join(home, String(count));
  const child = spawn(process.execPath, [script, join(place, "state/run"), String(count)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return { count, place, process: child };
}

/** Ms. */
function timed({ count, place }) {
  const env = { HOME: place, PATH: process.env.PATH, MCP_RUN_HOME: place };
  const begin = performance.now();
  const ran = spawnSync(process.execPath, [MCP_RUN, "status", "--json"], {
    env,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  const ms = performance.now() - begin;
  const seen = JSON.parse(ran.stdout).supervisors.length;
  if (seen !== count) throw new Error(`${seen} of ${count} supervisors were seen: ${ran.stderr}`);
  return ms;
}

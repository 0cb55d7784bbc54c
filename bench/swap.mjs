/**
 * What a swap in overlap adds to the slowest request of a loaded run: 200 requests a second through a session, without
 * a swap, with swaps, and with no swap but a server that is started beside it by somebody else and shakes hands,
 * which shows what the start of a process alone takes of the processors. Goal: at most 10 ms beyond the run without,
 * or what such a start takes. Runs are taken in turn.
 *
 *   node bench/swap.mjs [rounds, 9 by default]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { inTurn, median, table } from "./pairs.mjs";

const SELF = fileURLToPath(import.meta.url);
const SERVER = join(SELF, "../../test/helpers/servers/session.mjs");
const PER_SECOND = 200;
const RUN_MS = 3500;
/** Ms from the beginning of a run to each swap, or start. */
const EVENTS = [700, 1700, 2700];
const HELLO =
  '{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}\n';
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}\n';

const [role, ...args] = process.argv.slice(2);
if (role === "relay") await relay(...args);
else await compare(Number(role ?? 9));

async function compare(rounds) {
  const dir = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
  try {
    const session = await bundle(dir);
    const p99 = { "no swap": [], swaps: [], starts: [] };
    const slowest = (name, onEvent) => async () => {
      const times = await loadedRun(session, onEvent);
      p99[name].push(times[Math.floor(times.length * 0.99)]);
      return times.at(-1);
    };
    const measured = await inTurn(
      {
        "no swap": slowest("no swap", () => undefined),
        swaps: slowest("swaps", (child) => child.kill("SIGUSR2")),
        starts: slowest("starts", () => startBeside()),
      },
      rounds,
    );
    const quiet = measured["no swap"];
    const rows = Object.entries(measured).map(([name, values]) => [
      name,
      median(values).toFixed(1),
      median(values.map((value, round) => value - quiet[round])).toFixed(1),
      median(p99[name].slice(1)).toFixed(1),
    ]);
    console.log(
      `${PER_SECOND} requests/s for ${RUN_MS / 1000} s, ${EVENTS.length} swaps or starts in each run; ` +
        `medians of ${rounds} rounds in turn, ${availableParallelism()} processors, Node ${process.version}`,
    );
    console.log(table([["run", "slowest, ms", "beyond «no swap», ms", "p99, ms"], ...rows]));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Ms of each request, sorted. */
async function loadedRun(session, onEvent) {
  const child = spawn(process.execPath, [SELF, "relay", session], { stdio: ["pipe", "pipe", "inherit"] });
  const sentAt = new Map();
  const times = [];
  const processes = new Set();
  const lines = createInterface({ input: child.stdout });
  const greeted = once(lines, "line");
  child.stdin.write(HELLO);
  await greeted;
  child.stdin.write(INITIALIZED);
  lines.on("line", (line) => {
    const { id, result } = JSON.parse(line);
    if (!sentAt.has(id) || !result) throw new Error(`not an answer: ${line}`);
    times.push(performance.now() - sentAt.get(id));
    sentAt.delete(id);
    processes.add(JSON.parse(result.content[0].text).pid);
  });
  const startedAt = performance.now();
  const events = [...EVENTS];
  for (let id = 0; ; id++) {
    const at = (id * 1000) / PER_SECOND;
    if (at >= RUN_MS) break;
    const wait = startedAt + at - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (at >= events[0]) {
      events.shift();
      onEvent(child);
    }
    sentAt.set(id, performance.now());
    child.stdin.write(
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"who","arguments":{}}}\n`,
    );
  }
  while (sentAt.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  child.stdin.end();
  await once(child, "exit");
  if (onEvent.length > 0 && processes.size !== EVENTS.length + 1) {
    throw new Error(`${processes.size} servers have answered`);
  }
  return times.sort((a, b) => a - b);
}

/** The same server, told what a session tells the next one, and ended. */
async function startBeside() {
  const child = spawn(process.execPath, [SERVER], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.write(HELLO);
  await once(child.stdout, "data");
  child.stdin.end(INITIALIZED);
}

async function relay(session) {
  const { relaySession } = await import(session);
  await relaySession(process.execPath, [SERVER], "report");
}

async function bundle(dir) {
  const { rolldown } = await import("rolldown");
  const made = await rolldown({
    input: join(SELF, "../relay-session.ts"),
    platform: "node",
    logLevel: "silent",
  });
  const file = join(dir, "session.mjs");
  await made.write({ file, format: "esm" });
  await made.close();
  return file;
}

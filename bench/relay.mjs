/**
 * What the relay costs: a session as `run` keeps it (supervisor, switchboard, ledger, the watch for 5 secrets in the
 * mode that only reports) against two bare pipes of Node, each as a process of its own between the same client and
 * the same server. The client shakes hands first, and every answer is one to a request that it has sent. Runs are
 * taken in turn and the medians of their ratios shown. Goals: throughput 0.9 with 1 MiB and 0.7 with 100-byte
 * messages, round trip 1.15. Needs the dev packages, no build. Contestants: `session` watches for 5 secrets of
 * different kinds, a short password and a PEM file among them, `tokens` for 5 long ones, `off` for none;
 * `calls` is `session` with a record of each tool call in an audit.
 *
 *   node bench/relay.mjs [rounds, 7 by default] [only cases with these words] [contestants, "bare,session,tokens" by default]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurn, median, medianRatio, table } from "./pairs.mjs";

const SELF = fileURLToPath(import.meta.url);
const MIB = 1_048_576;
const BLOCK = 65_536;

/**
 * A burst is what the client sends before the server answers it all: less than the ledger remembers. `perWrite`:
 * lines that are written at once; a bare relay then moves blocks, whatever the lines in them.
 */
const SMALL = { bytes: 100, burst: 10_000, bursts: 32 };
const LARGE = { bytes: MIB, burst: 32, bursts: 24 };
const CASES = {
  "answers of 100 bytes, one write each": { ...SMALL, flow: "answers", perWrite: 1 },
  "answers of 100 bytes, in blocks of 64 KiB": { ...SMALL, flow: "answers", perWrite: 655 },
  "notifications of 100 bytes, one write each": { ...SMALL, flow: "notifications", perWrite: 1 },
  "notifications of 100 bytes, in blocks of 64 KiB": { ...SMALL, flow: "notifications", perWrite: 655 },
  "requests of 100 bytes, one write each": { ...SMALL, flow: "requests", perWrite: 1 },
  "requests of 100 bytes, in blocks of 64 KiB": { ...SMALL, flow: "requests", perWrite: 655 },
  "answers of 1 MiB, plain text": { ...LARGE, flow: "answers", perWrite: 1, text: "plain" },
  "answers of 1 MiB, JSON inside text": { ...LARGE, flow: "answers", perWrite: 1, text: "nested" },
  "requests of 1 MiB, JSON inside text": { ...LARGE, flow: "requests", perWrite: 1, text: "nested" },
};
const ROUND_TRIPS = 10_000;
const FIRST_ID = 100_000;

const [role, ...args] = process.argv.slice(2);
if (role === "server") serveFlood(CASES[args[0]]);
else if (role === "echo") serveEcho();
else if (role === "relay") await relay(...args);
else await compare(Number(role ?? 7), args[0] ?? "", (args[1] ?? "bare,session,tokens").split(","));

async function compare(rounds, wanted, kinds) {
  const dir = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
  const rows = [["case", ...kinds, ...kinds.slice(1).map((kind) => `${kind} / ${kinds[0]}`)]];
  const row = (name, measured, show) => [
    name,
    ...kinds.map((kind) => show(median(measured[kind]))),
    ...kinds.slice(1).map((kind) => medianRatio(measured[kind], measured[kinds[0]]).toFixed(2)),
  ];
  const contest = (measure) =>
    inTurn(Object.fromEntries(kinds.map((kind) => [kind, () => measure(kind)])), rounds);
  try {
    const file = await bundleSession(dir);
    for (const name of Object.keys(CASES).filter((name) => name.includes(wanted))) {
      const rates = await contest((kind) => floodRate(file, kind, name));
      rows.push(row(name, rates, (rate) => `${rate.toFixed(0)} MB/s`));
    }
    if ("round trip".includes(wanted)) {
      const p99 = Object.fromEntries(kinds.map((kind) => [kind, []]));
      const p50 = await contest(async (kind) => {
        const times = await roundTrips(file, kind);
        p99[kind].push(times[Math.floor(times.length * 0.99)]);
        return median(times);
      });
      for (const kind of kinds) p99[kind].shift(); // of the round that does not count
      rows.push(row("round trip, p50 (less is better)", p50, (ms) => `${(ms * 1000).toFixed(0)} µs`));
      rows.push(row("round trip, p99 (less is better)", p99, (ms) => `${(ms * 1000).toFixed(0)} µs`));
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
  console.log(`Relay on Node ${process.version}, medians of ${rounds} rounds in turn`);
  console.log(table(rows));
}

// The client.

async function start(file, kind, ...server) {
  const profiler =
    process.env.PROFILE && kind !== "bare" ? ["--cpu-prof", `--cpu-prof-dir=${process.env.PROFILE}`] : [];
  const child = spawn(process.execPath, [...profiler, SELF, "relay", file, kind, ...server], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const info = `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}`;
  child.stdin.write(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{${info}}}\n`);
  await once(child.stdout, "data");
  child.stdin.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}\n`);
  return child;
}

/** MB/s, from the first to the last byte of each burst at the receiving end. */
async function floodRate(file, kind, name) {
  const { flow, bytes, burst, bursts } = CASES[name];
  const child = await start(file, kind, "server", name);
  const requests = linesOf(
    flow === "requests" ? CASES[name] : { ...CASES[name], flow: "requests", bytes: 100 },
  );
  const wanted = flow === "requests" ? 0 : burst * bytes;
  let [got, startedAt, ms] = [0, 0, 0];
  let told = "";
  let complete = () => undefined;
  child.stdout.on("data", (chunk) => {
    if (got === 0) startedAt = performance.now();
    got += chunk.length;
    if (flow === "requests") told += chunk;
    if (flow === "requests" ? !told.endsWith("\n") : got < wanted) return;
    ms +=
      flow === "requests"
        ? JSON.parse(told.trim().split("\n").at(-1)).result.ms
        : performance.now() - startedAt;
    [got, told] = [0, ""];
    complete();
  });
  for (let round = 0; round < bursts; round++) {
    const over = new Promise((resolve) => {
      complete = resolve;
    });
    for (const block of requests) if (!child.stdin.write(block)) await once(child.stdin, "drain");
    await over;
  }
  child.stdout.removeAllListeners("data").resume(); // requests that were never answered are refused at the end
  child.stdin.end();
  await once(child, "exit");
  return (burst * bytes * bursts) / 1e3 / ms;
}

/** Ms from a request's write to the arrival of its answer, sorted. */
async function roundTrips(file, kind) {
  const child = await start(file, kind, "echo");
  const times = [];
  for (let id = 0; id < ROUND_TRIPS; id++) {
    const sentAt = performance.now();
    child.stdin.write(
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"t","arguments":{}}}\n`,
    );
    await once(child.stdout, "data");
    times.push(performance.now() - sentAt);
  }
  child.stdin.end();
  await once(child, "exit");
  return times.slice(ROUND_TRIPS / 10).sort((a, b) => a - b);
}

// The process in the middle.

async function relay(file, kind, ...server) {
  if (kind !== "bare") {
    const { relaySession } = await import(file);
    await relaySession(process.execPath, [SELF, ...server], kind === "session" ? "report" : kind);
    return;
  }
  const child = spawn(process.execPath, [SELF, ...server], { stdio: ["pipe", "pipe", "inherit"] });
  process.stdin.pipe(child.stdin);
  child.stdout.pipe(process.stdout);
}

async function bundleSession(dir) {
  const { rolldown } = await import("rolldown");
  const bundle = await rolldown({
    input: join(SELF, "../relay-session.ts"),
    platform: "node",
    logLevel: "silent",
  });
  await bundle.write({ file: join(dir, "session.mjs"), format: "esm", codeSplitting: false });
  await bundle.close();
  return join(dir, "session.mjs");
}

// The process at the far end. Its reads and writes block, so that it waits for the relay without work.

function serveFlood(flood) {
  const { flow, bytes, burst } = flood;
  const answers = linesOf(flood);
  const chunk = Buffer.alloc(BLOCK);
  const income = burst * (flow === "requests" ? bytes : 100);
  greet();
  for (;;) {
    let [got, startedAt] = [0, 0];
    while (got < income) {
      const read = readSync(0, chunk);
      if (read === 0) return;
      startedAt ||= performance.now();
      got += read;
    }
    const ms = performance.now() - startedAt;
    if (flow === "requests") {
      // What is left unanswered counts as open, and is asked again under the same ids in the next burst.
      writeAll(Buffer.from(`{"result":{"ms":${ms}},"jsonrpc":"2.0","id":${FIRST_ID}}\n`));
    } else for (const block of answers) writeAll(block);
  }
}

function serveEcho() {
  greet();
  process.stdin.on("data", (chunk) => {
    const { id } = JSON.parse(chunk.toString());
    process.stdout.write(`{"result":{},"jsonrpc":"2.0","id":${id}}\n`);
  });
}

function greet() {
  lineFromClient();
  const info = `"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"bench","version":"1"}`;
  writeAll(Buffer.from(`{"result":{${info}},"jsonrpc":"2.0","id":"hello"}\n`));
  lineFromClient();
}

/** Byte by byte, so that nothing behind the line is taken. */
function lineFromClient() {
  const byte = Buffer.alloc(1);
  while (readSync(0, byte) === 1 && byte[0] !== 0x0a);
}

function writeAll(block) {
  for (let at = 0; at < block.length; ) at += writeSync(1, block, at);
}

// What is sent, to the byte.

/** The lines of a burst, joined into what is written at once. */
function linesOf({ flow, bytes, burst, perWrite, text }) {
  const shape = {
    answers: (id, text) =>
      `{"result":{"content":[{"type":"text","text":"${text}"}]},"jsonrpc":"2.0","id":${id}}\n`,
    notifications: (_, text) =>
      `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"${text}"}}\n`,
    requests: (id, text) =>
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"t","arguments":{"a":"${text}"}}}\n`,
  }[flow];
  const filling = fillingOf(bytes - shape(FIRST_ID, "").length, text);
  const blocks = [];
  for (let index = 0; index < burst; index += perWrite) {
    const count = Math.min(perWrite, burst - index);
    const lines = Array.from({ length: count }, (_, line) => shape(FIRST_ID + index + line, filling));
    blocks.push(Buffer.from(lines.join("")));
  }
  return blocks;
}

/** So many bytes for the inside of a JSON string. */
function fillingOf(length, text) {
  if (text !== "nested") return "lorem ipsum dolor sit amet, ".repeat(length / 28 + 1).slice(0, length);
  const items = Array.from({ length: 12_000 }, (_, index) => ({
    name: `item ${index}`,
    tags: ["a", "b"],
    price: 1.5,
  }));
  const escaped = JSON.stringify(JSON.stringify(items, null, 2)).slice(1, length + 1);
  return escaped.replace(/\\+$/, (cut) => " ".repeat(cut.length));
}

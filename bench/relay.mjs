/**
 * What the relay costs: a server's lines through the pump (with ledger, as `run` uses it) against a bare
 * two-pipe relay, each as a process of its own between the same client and the same server. Runs are taken in
 * turn and medians compared. Needs the dev packages, no build.
 *
 *   node bench/relay.mjs [rounds, 7 by default]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurn, median, medianRatio, table } from "./pairs.mjs";

const SELF = fileURLToPath(import.meta.url);
const MIB = 1_048_576;

const FLOODS = [
  { name: "100-byte lines, in blocks", payload: "small", totalBytes: 64 * MIB, byLine: false },
  { name: "100-byte lines, one write each", payload: "small", totalBytes: 16 * MIB, byLine: true },
  { name: "1 MiB lines, plain text", payload: "plain", totalBytes: 512 * MIB, byLine: false },
  { name: "1 MiB lines, JSON inside text", payload: "nested", totalBytes: 512 * MIB, byLine: false },
];

const [role, ...args] = process.argv.slice(2);
if (role === "server") await serve(...args);
else if (role === "relay") await relay(...args);
else await compare(Number(role ?? 7));

async function compare(rounds) {
  const dir = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
  const rows = [["case", "bare relay", "pump", "pump / bare"]];
  try {
    const relayFile = await bundleRelay(dir);
    for (const { name, payload, totalBytes, byLine } of FLOODS) {
      const server = ["flood", payload, String(totalBytes), String(byLine)];
      const rates = await inTurn(
        bothKinds((kind) => floodRate(relayFile, kind, server)),
        rounds,
      );
      rows.push(row(`server to client: ${name}`, rates, (rate) => `${rate.toFixed(0)} MB/s`));
    }
    const times = await inTurn(
      bothKinds((kind) => roundTripP50(relayFile, kind, 3000)),
      rounds,
    );
    rows.push(row("round trip, p50 (less is better)", times, (ms) => `${(ms * 1000).toFixed(0)} µs`));
  } finally {
    rmSync(dir, { recursive: true });
  }
  console.log(table(rows));
}

function bothKinds(measure) {
  return { bare: () => measure("bare"), pump: () => measure("pump") };
}

function row(name, { bare, pump }, show) {
  return [name, show(median(bare)), show(median(pump)), medianRatio(pump, bare).toFixed(2)];
}

function startRelay(relayFile, kind, server) {
  return spawn(process.execPath, [SELF, "relay", relayFile, kind, ...server], {
    stdio: ["pipe", "pipe", "inherit"],
  });
}

/** MB/s between the first and the last byte that the client gets. */
async function floodRate(relayFile, kind, server) {
  const child = startRelay(relayFile, kind, server);
  let bytes = 0;
  let startedAt = 0;
  child.stdout.on("data", (chunk) => {
    startedAt ||= performance.now();
    bytes += chunk.length;
  });
  await once(child.stdout, "end");
  const seconds = (performance.now() - startedAt) / 1000;
  if (bytes < Number(server[2])) throw new Error(`only ${bytes} bytes came through (${kind})`);
  return bytes / 1e6 / seconds;
}

/** Ms from a request's write to the arrival of its answer. */
async function roundTripP50(relayFile, kind, count) {
  const child = startRelay(relayFile, kind, ["echo"]);
  const times = [];
  for (let id = 0; id < count; id++) {
    const sentAt = performance.now();
    child.stdin.write(`{"jsonrpc":"2.0","id":${id},"method":"ping"}\n`);
    await once(child.stdout, "data");
    times.push(performance.now() - sentAt);
  }
  child.stdin.end();
  await once(child, "exit");
  return median(times.slice(count / 10));
}

/** The process in the middle. */
async function relay(relayFile, kind, ...server) {
  const child = spawn(process.execPath, [SELF, "server", ...server], { stdio: ["pipe", "pipe", "inherit"] });
  if (kind === "bare") {
    process.stdin.pipe(child.stdin);
    child.stdout.pipe(process.stdout);
    return;
  }
  const { LineSink, pumpLines, RequestLedger } = await import(relayFile);
  const ledger = new RequestLedger();
  const toServer = new LineSink(child.stdin);
  const maxLineBytes = 64 * MIB;
  pumpLines(process.stdin, toServer, { maxLineBytes, onLine: (line) => ledger.clientSaid(line) }).then(() =>
    toServer.end(),
  );
  await pumpLines(child.stdout, new LineSink(process.stdout), {
    maxLineBytes,
    onLine: (line) => ledger.serverSaid(line),
    onNoise: () => {
      throw new Error("the server has said something that is no message");
    },
  });
}

/** The process at the far end. */
async function serve(kind, payload, totalBytes, byLine) {
  if (kind === "echo") {
    process.stdin.on("data", (chunk) => {
      const { id } = JSON.parse(chunk.toString());
      process.stdout.write(`{"result":{},"jsonrpc":"2.0","id":${id}}\n`);
    });
    return;
  }
  const line = Buffer.from(lineOf(payload));
  const repeat = byLine === "true" ? 1 : Math.max(1, Math.floor(65_536 / line.length));
  const block = Buffer.concat(Array.from({ length: repeat }, () => line));
  for (let left = Number(totalBytes); left > 0; left -= block.length) writeAll(block);
}

function writeAll(block) {
  for (let at = 0; at < block.length; ) {
    try {
      at += writeSync(1, block, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function lineOf(payload) {
  const answer = (text) =>
    `${JSON.stringify({ result: { content: [{ type: "text", text }] }, jsonrpc: "2.0", id: 123_456 })}\n`;
  const rest = answer("").length;
  if (payload === "small") return answer("x".repeat(100 - rest));
  if (payload === "plain") return answer("x".repeat(MIB - rest));
  const items = Array.from({ length: 8000 }, (_, index) => ({
    name: `item ${index}`,
    tags: ["a", "b"],
    price: 1.5,
  }));
  const text = JSON.stringify(items, null, 2);
  return answer(text.slice(0, Math.floor((text.length * MIB) / answer(text).length)));
}

async function bundleRelay(dir) {
  const { rolldown } = await import("rolldown");
  const source = join(SELF, "../../src/relay");
  const entry = join(dir, "entry.ts");
  writeFileSync(
    entry,
    ["line-sink", "pump", "ledger"]
      .map((file) => `export * from ${JSON.stringify(join(source, `${file}.ts`))};`)
      .join("\n"),
  );
  const bundle = await rolldown({ input: entry, platform: "node" });
  await bundle.write({ file: join(dir, "relay.mjs"), format: "esm" });
  await bundle.close();
  return join(dir, "relay.mjs");
}

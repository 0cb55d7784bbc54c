/**
 * What a session takes of memory: the heap after garbage was collected, over 1,000 rotations and with 10,000 requests
 * in flight (as test/launch/memory.test.ts, here also with compiled code, which V8 goes on making); and the peak of
 * the whole process (VmHWM, Linux only) with a line of 63 MiB in each direction, above the peak before it. Goals: no
 * growth beyond 5 %; at most the line and one copy.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median, table } from "./pairs.mjs";

const SELF = fileURLToPath(import.meta.url);
const MIB = 1_048_576;
const LINE_BYTES = 63 * MIB;
const ROUNDS = 5;

const [role, ...args] = process.argv.slice(2);
if (role === "server") serve();
else if (role === "relay") await relay(...args);
else await measureAll();

async function measureAll() {
  const dir = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
  try {
    const runner = await bundle(dir, "../test/helpers/memory-runner.ts");
    const session = await bundle(dir, "relay-session.ts");
    const rows = [["what", "bytes of the heap", "at last / at first"]];
    for (const [name, flags] of [
      ["nothing compiled", ["--no-opt", "--no-sparkplug"]],
      ["as Node runs it", []],
    ]) {
      const { afterFirst, afterLast } = heap(runner, flags, "rotations", "100", "1000");
      const { before, waiting, after } = heap(runner, flags, "in-flight", "10000");
      rows.push(heapRow(`after 100 and 1,000 rotations, ${name}`, afterFirst, afterLast));
      rows.push(heapRow(`before and after 10,000 in flight, ${name}`, before, after));
      rows.push([`  while they are in flight`, `+ ${waiting.heapUsed - before.heapUsed}`, ""]);
    }
    console.log(`Memory of a session on Node ${process.version}`);
    console.log(table(rows));
    if (process.platform === "linux") await peaks(session);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function heap(runner, flags, ...what) {
  const ran = spawnSync(process.execPath, ["--expose-gc", ...flags, runner, ...what], { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return JSON.parse(ran.stdout);
}

function heapRow(name, first, last) {
  return [name, `${first.heapUsed} -> ${last.heapUsed}`, (last.heapUsed / first.heapUsed).toFixed(3)];
}

async function peaks(session) {
  const rows = [["peak of the process", "MiB before", "MiB more with the line", "x line"]];
  for (const direction of ["server to client", "client to server"]) {
    const measured = [];
    for (let round = 0; round < ROUNDS; round++) measured.push(await peak(session, direction));
    const before = median(measured.map((one) => one.before));
    const more = median(measured.map((one) => one.more));
    rows.push([`one line of 63 MiB, ${direction}`, mib(before), mib(more), (more / LINE_BYTES).toFixed(2)]);
  }
  console.log(table(rows));
}

function mib(bytes) {
  return (bytes / MIB).toFixed(0);
}

async function peak(session, direction) {
  const child = spawn(process.execPath, [SELF, "relay", session], { stdio: ["pipe", "pipe", "inherit"] });
  const say = (params) =>
    child.stdin.write(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}\n`);
  const answer = async () => {
    for (;;) {
      const [chunk] = await once(child.stdout, "data");
      if (chunk.at(-1) === 0x0a) return;
    }
  };
  say(`{"bytes":10}`);
  await answer();
  const before = highWater(child.pid);
  if (direction === "server to client") say(`{"bytes":${LINE_BYTES}}`);
  else say(`{"bytes":10,"x":"${"x".repeat(LINE_BYTES - 200)}"}`);
  await answer();
  const more = highWater(child.pid) - before;
  child.stdin.end();
  await once(child, "exit");
  return { before, more };
}

function highWater(pid) {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}

async function relay(session) {
  const { relaySession } = await import(session);
  await relaySession(process.execPath, [SELF, "server"], "report");
}

/** Answers each line by one of so many bytes as it asks for in its first chunk. */
function serve() {
  const chunk = Buffer.alloc(65_536);
  let wanted = 0;
  for (;;) {
    const read = readSync(0, chunk);
    if (read === 0) return;
    wanted ||= Number(/"bytes":(\d+)/.exec(chunk.toString("latin1", 0, read))[1]);
    if (chunk[read - 1] !== 0x0a) continue;
    const [start, end] = [`{"result":{"text":"`, `"},"jsonrpc":"2.0","id":1}\n`];
    const line = Buffer.from(start + "x".repeat(Math.max(0, wanted - start.length - end.length)) + end);
    for (let at = 0; at < line.length; ) at += writeSync(1, line, at);
    wanted = 0;
  }
}

async function bundle(dir, file) {
  // Here, not above: it makes stdout one that does not block, and the server's has to.
  const { rolldown } = await import("rolldown");
  const made = await rolldown({ input: join(SELF, "..", file), platform: "node", logLevel: "silent" });
  const out = join(dir, `${file.split("/").at(-1)}.mjs`);
  await made.write({ file: out, format: "esm" });
  await made.close();
  return out;
}

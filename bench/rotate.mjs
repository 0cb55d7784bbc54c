/**
 * What an emergency takes with fifty running servers: from Enter until all of them have the new value, and how much of
 * that is telling them. The server answers 50 ms after its start; as many bare starts of it at once are what nobody can
 * undercut. Goals: bounded by the starts; told within 100 ms.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { inTurn, median, table } from "./pairs.mjs";

const MCP_RUN = join(import.meta.dirname, "../dist/main.cjs");
const ROUNDS = Number(process.env.ROUNDS ?? 5);
const COUNT = Number(process.env.SUPERVISORS ?? 50);
const REF = "local:bench";
const HELLO = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}\n`;
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}\n';

const SERVER = `
let isUp = false;
let rest = "";
const lines = [];
const answer = () => {
  for (const line of lines.splice(0)) {
    const { id, method } = JSON.parse(line);
    if (method !== "initialize") continue;
    const result = { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: { name: "bench", version: "1" } };
    process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result }) + "\\n");
  }
};
process.stdin.on("data", (chunk) => {
  lines.push(...(rest + chunk).split("\\n"));
  rest = lines.pop();
  if (isUp) answer();
});
setTimeout(() => { isUp = true; answer(); }, 50 - performance.now());
`;
const HOOK = `#!/bin/sh
read -r question
case $question in
  *'"action":"mint"'*) printf '{"value":"canary-bench-%s"}' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')" ;;
  *'"action":"revoke"'*) printf '{"revoked":true}' ;;
  *'"action":"verify"'*) printf '{"accepted":false}' ;;
  *) printf '{}' ;;
esac
`;

const home = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
const env = { HOME: home, PATH: process.env.PATH, MCP_RUN_HOME: home, MCP_RUN_KEYCHAIN: "off" };
const supervisors = [];
try {
  prepare();
  const fleet = await bundledFleet();
  await Promise.all(Array.from({ length: COUNT }, startSupervisor));
  while (readdirSync(join(home, "state/run")).length < COUNT) await pause(20);
  await report(fleet);
} finally {
  for (const child of supervisors) child.stdin.end();
  await Promise.all(supervisors.map((child) => once(child, "exit")));
  rmSync(home, { recursive: true, force: true });
}

async function report(fleet) {
  const took = { told: [], whole: [] };
  const measured = await inTurn(
    {
      "bare starts at once": bareStarts,
      "the word alone: until all have the new value": () => spread(fleet, took.told),
      "mcp-run rotate: until all have the new value": () => rotate(took.whole),
    },
    ROUNDS,
  );
  // The round that is not counted.
  for (const values of Object.values(took)) values.shift();
  const bare = median(measured["bare starts at once"]);
  const rows = {
    ...measured,
    "the word alone: until all are told": took.told,
    "mcp-run rotate: as a whole": took.whole,
  };
  console.log(
    `${COUNT} supervisors, a server that starts in 50 ms; medians of ${ROUNDS} rounds in turn, ` +
      `${availableParallelism()} processors, Node ${process.version}`,
  );
  console.log(
    table([
      ["what", "ms", "ms at worst", "x bare starts"],
      ...Object.entries(rows).map(([what, values]) => [
        what,
        median(values).toFixed(0),
        Math.max(...values).toFixed(0),
        (median(values) / bare).toFixed(2),
      ]),
    ]),
  );
}

function prepare() {
  const profiles = join(home, "config", "profiles");
  mkdirSync(profiles, { recursive: true, mode: 0o700 });
  writeFileSync(join(home, "server.cjs"), SERVER);
  writeFileSync(join(home, "hook"), HOOK, { mode: 0o700 });
  writeFileSync(
    join(profiles, "bench.yaml"),
    `command: ${process.execPath}\nargs: [${join(home, "server.cjs")}]\nsecrets: { KEY: { from: "${REF}", rotate: { hook: [${join(home, "hook")}] } } }\n`,
    { mode: 0o600 },
  );
  set("canary-bench-first");
}

function set(value) {
  const ran = spawnSync(process.execPath, [MCP_RUN, "secrets", "set", REF], {
    env,
    input: value,
    encoding: "utf8",
  });
  if (ran.status !== 0) throw new Error(`secrets set ended with ${ran.status}: ${ran.stderr}`);
}

async function bundledFleet() {
  const file = join(home, "fleet.mjs");
  const input = join(import.meta.dirname, "rotate-fleet.ts");
  const bundle = await rolldown({ input, platform: "node", external: [/^node:/], logLevel: "silent" });
  await bundle.write({ file, format: "esm" });
  const { localFleet } = await import(pathToFileURL(file).href);
  return localFleet(join(home, "state/run"));
}

async function startSupervisor() {
  const child = spawn(process.execPath, [MCP_RUN, "--log-level", "error", "bench"], {
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  supervisors.push(child);
  await shakeHands(child);
}

async function shakeHands(child) {
  child.stdin.write(HELLO);
  await once(child.stdout, "data");
  child.stdin.write(INITIALIZED);
}

async function bareStarts() {
  const begin = performance.now();
  const children = Array.from({ length: COUNT }, () =>
    spawn(process.execPath, [join(home, "server.cjs")], { env, stdio: ["pipe", "pipe", "inherit"] }),
  );
  await Promise.all(children.map(shakeHands));
  const ms = performance.now() - begin;
  for (const child of children) child.stdin.end();
  await Promise.all(children.map((child) => once(child, "exit")));
  return ms;
}

/** As the step of a rotation does it, from within this process. */
async function spread(fleet, told) {
  const value = `canary-bench-${randomBytes(8).toString("hex")}`;
  set(value);
  const key = randomBytes(32);
  const wanted = [{ from: REF, fingerprint: createHmac("sha256", key).update(value).digest("hex") }];
  const begin = performance.now();
  let toldMs;
  let allMs;
  const { signal } = new AbortController();
  const found = await fleet.spread(wanted, key, 60_000, signal, (known) => {
    const ms = performance.now() - begin;
    if (known.length === COUNT) toldMs ??= ms;
    if (known.length === COUNT && known.every(({ state }) => state === "acknowledged")) allMs ??= ms;
  });
  if (allMs === undefined) throw new Error(`not all have it: ${JSON.stringify(found[0])}`);
  told.push(toldMs);
  return allMs;
}

async function rotate(whole) {
  const begin = performance.now();
  const child = spawn(process.execPath, [MCP_RUN, "rotate", "bench", "--reason", "bench", "--yes"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  let allMs;
  createInterface({ input: child.stdout }).on("line", (line) => {
    out += `${line}\n`;
    if (line.startsWith("✔ spread")) allMs = performance.now() - begin;
  });
  const [code] = await once(child, "close");
  if (code !== 0 || !out.includes(`${COUNT} acknowledged`))
    throw new Error(`rotate ended with ${code}: ${out}`);
  whole.push(performance.now() - begin);
  return allMs;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

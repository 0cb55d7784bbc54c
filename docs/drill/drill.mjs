#!/usr/bin/env node
/**
 * A fire drill: a key leaks while servers work with it, and `mcp-run rotate` replaces it. Says what came of it, ends
 * with 0 if all is well, and takes everything away again. docs/drill.md tells how to run it.
 */
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client } from "./client.mjs";
import { startService } from "./service.mjs";

const PATIENCE_MS = 120_000;

const { values: options } = parseArgs({
  options: {
    /** The program; a .cjs or .js file is run by this Node. */
    "mcp-run": { type: "string", default: process.env.MCP_RUN ?? "mcp-run" },
    /** Where the secret is made: a ref that nothing stands at yet. */
    ref: { type: "string", default: defaultRef() },
    supervisors: { type: "string", default: "20" },
    report: { type: "string", default: "drill-report.md" },
    /** How long the rotation waits for everybody. */
    "ack-timeout": { type: "string" },
    /** Does not wait for Enter. */
    yes: { type: "boolean", default: !process.stdin.isTTY },
    /** The servers can't be given another key while they run. */
    stubborn: { type: "boolean", default: false },
    /** Leaves the secret where it is. */
    keep: { type: "boolean", default: false },
  },
});
const [program, ...programArgs] = /\.c?js$/.test(options["mcp-run"])
  ? [process.execPath, resolve(options["mcp-run"])]
  : [options["mcp-run"]];
const count = Number(options.supervisors);
const report = resolve(options.report);
const secret = `${options.ref}#key`;
const home = mkdtempSync(join(tmpdir(), "mcp-run-drill-"));
const env = {
  ...process.env,
  MCP_RUN_HOME: home,
  ...(options.ref.startsWith("local:") && { MCP_RUN_KEYCHAIN: "off" }),
};

const service = await startService();
const clients = [];
let isStored = false;
let isOver = false;

process.once("SIGINT", () => void stop(130));
try {
  await drill();
} catch (error) {
  if (!isOver) say(`✘ ${error.message}`);
  process.exitCode = 1;
} finally {
  if (!isOver) await stop();
}

async function drill() {
  say(`${count} servers with a key from ${secret}, each with a client that goes on asking`);
  const leaked = service.make("drill-leaked");
  writeProfiles();
  await must(["secrets", "set", secret], leaked);
  isStored = true;
  await openSessions();
  const before = await supervisors();
  const leakedVersion = before[0]?.version;
  say(
    `the key of version ${leakedVersion} leaks: the service ${service.takes(leaked) ? "takes it from everybody" : "does not know it"}`,
  );

  const limit = options["ack-timeout"] ? ["--ack-timeout", options["ack-timeout"]] : [];
  const reason = "drill: leaked in a build log";
  const args = ["rotate", "drill", "--reason", reason, ...limit, "--yes", "--report", report];
  say(`\n$ mcp-run ${args.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ")}`);
  if (!options.yes) await enter();
  const startedAt = performance.now();
  const rotated = await rotate(args);
  const doneMs = performance.now() - startedAt;
  const replacement = service.keys().find((key) => key !== leaked);
  const hasNewKey = ({ latest }) => replacement?.startsWith(`${latest}.`);
  if (rotated.status === 0) await until(() => clients.every(hasNewKey)).catch(() => undefined);
  let after = [];
  // One that has much to do may not answer at once.
  const areAllThere = async () => {
    after = await supervisors();
    return after.length === count;
  };
  await until(areAllThere).catch(() => undefined);
  await Promise.all(clients.map((client) => client.close()));

  const failures = clients.flatMap((client) => client.failures);
  const requests = clients.reduce((sum, client) => sum + client.count, 0);
  const changed = clients.filter(hasNewKey).length;
  const verified = await mcpRun(["audit", "verify"]);
  writeProfiles(leakedVersion);
  const [current, old] = [await mcpRun(["check", "drill"]), await mcpRun(["check", "leaked"])];
  const written = readFileSync(report, "utf8");

  say("");
  check(rotated.status === 0, `the rotation has ended with ${rotated.status}`);
  check(failures.length === 0, `failed client requests: ${failures.length} of ${requests}`, failures);
  check(changed === count, `servers that work with the new key: ${changed} of ${count}`);
  check(
    after.length === count && after.every(({ version }) => version !== leakedVersion),
    `status shows the new version: ${after[0]?.version}`,
  );
  check(service.keys().length === 1 && !service.takes(leaked), "the service refuses the leaked key");
  check(
    current.status === 0 && old.status !== 0,
    "the store has the new version, and does not hand out the leaked one",
    [current.text, old.text],
  );
  check(verified.status === 0, "mcp-run audit verify: the audit is whole", [verified.text]);
  check(written.includes("leaked in a build log"), `the report is in ${report}`);
  const places = placesOf([leaked, replacement], rotated.text + written);
  check(places.length === 0, "no key in a file of mcp-run, in what it says, or in the report", places);

  say(`
from Enter to the end               ${seconds(doneMs)}
the leaked key was used last after  ${seconds(service.lastUseOf(leaked) - startedAt)}
the slowest client request took     ${seconds(Math.max(...clients.map(({ slowestMs }) => slowestMs)))}`);
}

/** A few at a time: starting is work. */
async function openSessions() {
  const left = Array.from({ length: count }).entries();
  const open = async () => {
    for (const _one of left) {
      const client = new Client(program, [...programArgs, "drill"], env);
      clients.push(client);
      await client.shakeHands();
      client.begin("use");
    }
  };
  await Promise.all([open(), open(), open(), open()]);
  await until(async () => (await supervisors()).length === count);
}

async function supervisors() {
  const { text } = await mcpRun(["status", "drill", "--json"]);
  return JSON.parse(text).supervisors.map(({ secrets }) => secrets.find(({ name }) => name === "DRILL_KEY"));
}

/** A person sees the rotation as it is. */
async function rotate(args) {
  const isShown = process.stdout.isTTY;
  const child = spawn(program, [...programArgs, ...args], {
    env: { ...env, DRILL_ADMIN: service.admin },
    stdio: ["ignore", isShown ? "inherit" : "pipe", isShown ? "inherit" : "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk) => {
      text += chunk;
      process.stdout.write(chunk);
    });
  }
  const [status] = await once(child, "close");
  return { status, text };
}

/** One profile for the servers, and one that asks for the version that leaks. */
function writeProfiles(leakedVersion) {
  const [server, hook] = ["server.mjs", "hook.mjs"].map((file) => join(import.meta.dirname, file));
  const rotate = { hook: [process.execPath, hook, service.url], grantOldValue: true };
  const profile = {
    command: process.execPath,
    args: [server],
    env: { DRILL_SERVICE: service.url },
    probe: { tool: "use" },
    ...(options.stubborn && { refresh: { restart: "never" } }),
  };
  const key = { from: secret, rotate };
  const profiles = {
    drill: { ...profile, secrets: { DRILL_KEY: key } },
    leaked: { ...profile, secrets: { DRILL_KEY: { ...key, version: leakedVersion } } },
  };
  const providers = options.ref.startsWith("aws:") ? { aws: { type: "aws-secrets-manager" } } : {};
  const folder = join(home, "config");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  writeFileSync(join(folder, "mcp-run.yaml"), JSON.stringify({ version: 1, providers, profiles }), {
    mode: 0o600,
  });
}

function mcpRun(args, input = "") {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      [...programArgs, ...args],
      { env, maxBuffer: 2 ** 26 },
      (error, out, err) => {
        resolve({ status: error ? (error.code ?? error.signal) : 0, text: error ? out + err : out });
      },
    );
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

async function must(args, input) {
  const { status, text } = await mcpRun(args, input);
  if (status !== 0) throw new Error(`mcp-run ${args.join(" ")} ended with ${status}: ${text.trim()}`);
}

/** Where one of these values stands. */
function placesOf(values, said) {
  const holds = (text) => values.some((value) => value && text.includes(value));
  const files = readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return [
    ...files.filter((file) => holds(readFileSync(file, "latin1"))),
    ...(clients.some(({ log }) => holds(log)) ? ["what servers and mcp-run told their clients"] : []),
    ...(holds(said) ? ["what the rotation said"] : []),
  ];
}

async function enter() {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  await lines.question("Press Enter to do it. ");
  lines.close();
}

async function until(isSo) {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`waited ${seconds(PATIENCE_MS)} in vain`);
    await pause(100);
  }
}

function check(isGood, what, details = []) {
  say(`${isGood ? "✔" : "✘"} ${what}`);
  if (isGood) return;
  process.exitCode = 1;
  for (const detail of new Set(details)) say(`  ${String(detail).trim()}`);
}

async function stop(exitCode) {
  isOver = true;
  await Promise.all(clients.map((client) => client.close()));
  service.close();
  if (isStored && !options.keep) {
    const { status, text } = await mcpRun(["secrets", "rm", options.ref]);
    if (status !== 0) say(`✘ ${options.ref} could not be removed, please do: ${text.trim()}`);
  }
  rmSync(home, { recursive: true, force: true });
  if (exitCode !== undefined) process.exit(exitCode);
}

function defaultRef() {
  const name = `mcp-run-drill-${randomBytes(3).toString("hex")}`;
  const { VAULT_ADDR, BAO_ADDR, AWS_REGION, AWS_ENDPOINT_URL } = process.env;
  if (VAULT_ADDR || BAO_ADDR) return `vault:secret/${name}`;
  if (AWS_REGION || AWS_ENDPOINT_URL) return `aws:${name}`;
  return `local:${name}`;
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

/**
 * Shows on this machine what mcp-run promises: a throw-away home, a secret in the encrypted store, a real MCP
 * server, the official client, and a check mark for each promise that was seen to hold. Exit code 1 if one is not.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const MCP_RUN = join(import.meta.dirname, "../../dist/main.cjs");
const SERVER = join(import.meta.dirname, "chatty-server.mjs");
const CHATTER_MS = 30_000;
const ROTATION_MS = 30_000;

const home = mkdtempSync(join(tmpdir(), "mcp-run-demo-"));
const env = { ...getDefaultEnvironment(), MCP_RUN_HOME: home, MCP_RUN_KEYCHAIN: "off" };
const token = newToken();
const nextToken = newToken();
let failures = 0;

try {
  console.log(`A throw-away home: ${home}\n`);
  storeSecret();
  writeProfile();
  await serve();
  runProgram();
  nothingInTheClear();
} finally {
  rmSync(home, { recursive: true, force: true });
}
console.log(failures === 0 ? "\nAll of it holds." : `\n${failures} of these did not hold.`);
process.exitCode = failures === 0 ? 0 : 1;

function see(holds, what) {
  console.log(`${holds ? "✔" : "✘"} ${what}`);
  if (!holds) failures++;
}

function newToken() {
  return `canary-demo-${randomBytes(24).toString("base64url")}`;
}

function storeSecret() {
  const set = mcpRun(["secrets", "set", "local:demo-token"], token);
  see(set.status === 0, "mcp-run secrets set local:demo-token took the secret from stdin and encrypted it");
}

function writeProfile() {
  const profiles = join(home, "config", "profiles");
  mkdirSync(profiles, { recursive: true, mode: 0o700 });
  const profile = {
    command: process.execPath,
    args: [SERVER],
    secrets: { DEMO_TOKEN: "local:demo-token" },
    refresh: { every: "1h" },
    probe: { tool: "get-env", arguments: {} },
  };
  writeFileSync(join(profiles, "demo.yaml"), JSON.stringify(profile), { mode: 0o600 });
}

async function serve() {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MCP_RUN, "demo"],
    env,
    stderr: "pipe",
  });
  let chatter = "";
  transport.stderr.on("data", (chunk) => {
    chatter += chunk;
  });
  const client = new Client({ name: "mcp-run-demo", version: "1.0.0" });
  await client.connect(transport);
  const { pid } = transport;
  try {
    const { tools } = await client.listTools();
    see(
      tools.length > 0,
      `the official MCP client talks to server-everything through mcp-run (${tools.length} tools)`,
    );
    const environment = await call(client, "get-env");
    see(environment.includes(token), "the server has the secret in its environment");
    see(!environment.includes("MCP_RUN_HOME"), "the server has none of mcp-run's own variables");
    seeNoSecretInLauncher(pid);
    await until(() => chatter.includes("end of chatter"), CHATTER_MS);
    see(
      chatter.includes("plain: [mcp-run:DEMO_TOKEN]\n"),
      "a stderr line that prints the secret comes out scrubbed",
    );
    see(
      /base64: .*\[mcp-run:DEMO_TOKEN\]/.test(chatter),
      "so does its base64 form, in the middle of other text",
    );
    see(chatter.includes("cut: [mcp-run:DEMO_TOKEN]\n"), "so does the secret written in two pieces");
    await rotate(client, pid, () => chatter);
    const inTheClear = [token, nextToken].some((value) => chatter.includes(value));
    see(!inTheClear, "nowhere on stderr does the old or the new secret stand in the clear");
  } finally {
    await client.close();
  }
  const pids = [pid, ...pidsIn(chatter)];
  await until(() => !pids.some(isRunning), CHATTER_MS);
  see(
    pids.every((one) => one > 0 && !isRunning(one)),
    "nothing is left running",
  );
}

/** The secret changes while the client is there, and at work. */
async function rotate(client, pid, chatter) {
  const steps = [];
  const slow = call(client, "trigger-long-running-operation", { duration: 2, steps: 4 }, ({ progress }) =>
    steps.push(progress),
  );
  const set = mcpRun(["secrets", "set", "local:demo-token"], nextToken);
  process.kill(pid, "SIGUSR2");
  let environment = "";
  let calls = 0;
  await until(async () => {
    environment = await call(client, "get-env");
    calls++;
    return environment.includes(nextToken);
  }, ROTATION_MS);
  const isNew = set.status === 0 && environment.includes(nextToken) && !environment.includes(token);
  see(isNew, "the secret was changed, and in the same session the server now has the new one");
  const isAnswered = (await slow).includes("completed");
  // The SDK drops the steps that it reads together with the answer.
  const isWhole = isAnswered && steps.length > 0 && "1,2,3,4".startsWith(steps.join());
  see(
    isWhole,
    `the request that was under way came back from the old server with its progress, and ${calls} more were answered`,
  );
  await until(() => pidsIn(chatter()).length === 2 && chatter().includes("last words: "), CHATTER_MS);
  see(chatter().includes("last words: [mcp-run:DEMO_TOKEN]\n"), "the old secret is still scrubbed");
  see(
    /tells the client the value of DEMO_TOKEN in tools\/call/.test(chatter()),
    "that get-env tells the client a secret was reported",
  );
}

async function call(client, name, given = {}, onprogress = undefined) {
  const { content } = await client.callTool({ name, arguments: given }, undefined, { onprogress });
  return content[0].text;
}

function pidsIn(chatter) {
  return [...chatter.matchAll(/^pid: (\d+)$/gm)].map(([, pid]) => Number(pid));
}

function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Where the system shows the argv and environment of a process (Linux), look at the launcher's. */
function seeNoSecretInLauncher(pid) {
  if (!existsSync(`/proc/${pid}/environ`)) {
    console.log("- argv and environment of mcp-run can't be looked at on this system (no /proc)");
    return;
  }
  const shown = ["cmdline", "environ"].map((file) => readFileSync(`/proc/${pid}/${file}`, "utf8")).join();
  see(
    shown.includes("demo") && !shown.includes(token),
    "argv and environment of mcp-run do not have the secret",
  );
}

function runProgram() {
  const script = "process.stdout.write(process.env.DEMO_TOKEN); process.exitCode = 7";
  const ran = mcpRun(["exec", "demo", "--", process.execPath, "-e", script]);
  see(ran.stdout === "[mcp-run:DEMO_TOKEN]", "mcp-run exec scrubs stdout as well");
  see(ran.status === 7, "the exit code of the program is the exit code of mcp-run");
}

function nothingInTheClear() {
  const files = readdirSync(home, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const holding = files.filter((entry) => {
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    return bytes.includes(token) || bytes.includes(nextToken);
  });
  see(files.length >= 3 && holding.length === 0, "no file below that home has the secret in the clear");
}

function mcpRun(args, input = "") {
  return spawnSync(process.execPath, [MCP_RUN, ...args], { env, input, encoding: "utf8" });
}

async function until(holds, ms) {
  const end = Date.now() + ms;
  while (!(await holds()) && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
}

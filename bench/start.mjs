/**
 * What a start costs: `mcp-run exec P -- node -e 0` against a bare `node -e 0`, in turn, whole processes; and the
 * launcher's peak memory, read by the program that it runs. Goal: at most 3.3 times, at most 70 MiB.
 *
 * NODE_EXTRA_CA_CERTS makes every start of Node 20 some 40 ms longer, ours and the bare one alike, which flatters
 * the ratio; where it is set, both are measured.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inTurn, median, medianRatio, table } from "./pairs.mjs";

const MCP_RUN = join(import.meta.dirname, "../dist/main.cjs");
const ROUNDS = Number(process.env.ROUNDS ?? 40);

const home = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
const bareEnvironment = { HOME: home, PATH: process.env.PATH, MCP_RUN_HOME: home, MCP_RUN_KEYCHAIN: "off" };
const { NODE_EXTRA_CA_CERTS } = process.env;
let env = bareEnvironment;

try {
  prepare();
  await measure("a bare environment");
  if (NODE_EXTRA_CA_CERTS) {
    env = { ...bareEnvironment, NODE_EXTRA_CA_CERTS };
    await measure("NODE_EXTRA_CA_CERTS as it is set here");
  }
} finally {
  rmSync(home, { recursive: true, force: true });
}

async function measure(circumstances) {
  const measured = await inTurn(
    {
      "node -e 0": () => timed([process.execPath, "-e", "0"]),
      "a script that spawns node -e 0": () => timed([process.execPath, join(home, "spawns.cjs")]),
      "mcp-run --version": () => timed([process.execPath, MCP_RUN, "--version"]),
      "mcp-run exec P -- node -e 0": () =>
        timed([process.execPath, MCP_RUN, "exec", "bench", "--", process.execPath, "-e", "0"]),
    },
    ROUNDS,
  );
  const bare = measured["node -e 0"];
  const rows = Object.entries(measured).map(([name, values]) => [
    name,
    median(values).toFixed(1),
    medianRatio(values, bare).toFixed(2),
  ]);
  console.log(
    `\nStarts on Node ${process.version}, medians of ${ROUNDS} rounds in turn, with ${circumstances}`,
  );
  console.log(table([["what", "ms", "x bare node"], ...rows]));
  console.log(`peak memory of the launcher in exec: ${peakMemoryMiB()}`);
}

function prepare() {
  const profiles = join(home, "config", "profiles");
  mkdirSync(profiles, { recursive: true, mode: 0o700 });
  writeFileSync(
    join(profiles, "bench.yaml"),
    "command: node\nsecrets:\n  BENCH_TOKEN: local:bench-token\n  BENCH_OTHER: local:bench-other\n",
    { mode: 0o600 },
  );
  writeFileSync(
    join(home, "spawns.cjs"),
    'require("child_process").spawn(process.execPath, ["-e", "0"], { stdio: "inherit" });',
  );
  for (const name of ["bench-token", "bench-other"])
    run([process.execPath, MCP_RUN, "secrets", "set", `local:${name}`], `canary-${name}-value`);
}

function run([command, ...args], input = "") {
  const ran = spawnSync(command, args, { env, input, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${args.join(" ")} ended with ${ran.status}: ${ran.stderr}`);
  return ran.stdout;
}

function timed(argv) {
  const start = performance.now();
  run(argv);
  return performance.now() - start;
}

/** VmHWM of the parent of the program that runs under exec; Linux only. */
function peakMemoryMiB() {
  if (process.platform !== "linux") return "not measured on this system";
  const script =
    'process.stdout.write(require("fs").readFileSync("/proc/" + process.ppid + "/status", "utf8"))';
  const peaks = Array.from({ length: 5 }, () => {
    const status = run([process.execPath, MCP_RUN, "exec", "bench", "--", process.execPath, "-e", script]);
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) / 1024;
  });
  return `${median(peaks).toFixed(1)} MiB`;
}

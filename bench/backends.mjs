/**
 * What a start costs with each backend: `mcp-run exec P -- node -e 0` against a bare `node -e 0`, in turn, whole
 * processes. Those across a network are asked on loopback, at servers in another process that answer at once; what
 * a real network adds comes on top. A keychain takes part where one is usable and open.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { inTurn, median, medianRatio, table } from "./pairs.mjs";

const MCP_RUN = join(import.meta.dirname, "../dist/main.cjs");
const ROUNDS = Number(process.env.ROUNDS ?? 30);
const KEYCHAIN_ITEM = "keychain:mcp-run-bench";

const home = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
// A keychain is found by what is in the environment of the session.
const env = { ...process.env, MCP_RUN_HOME: home, BENCH_VALUE: "canary-bench" };
delete env.NODE_EXTRA_CA_CERTS; // it makes every start longer, the bare one too
const servers = await startServers();
const hasKeychain = run(["secrets", "set", KEYCHAIN_ITEM], "canary-bench").status === 0;
try {
  const profiles = prepare();
  const contestants = Object.fromEntries(
    profiles.map((name) => [name, () => timed([MCP_RUN, "exec", name, "--", process.execPath, "-e", "0"])]),
  );
  const measured = await inTurn({ "bare node": () => timed(["-e", "0"]), ...contestants }, ROUNDS);
  const bare = measured["bare node"];
  const rows = Object.entries(measured).map(([name, values]) => [
    name,
    median(values).toFixed(1),
    medianRatio(values, bare).toFixed(2),
  ]);
  console.log(
    `exec of node -e 0 with one secret, Node ${process.version}, medians of ${ROUNDS} rounds in turn`,
  );
  if (!hasKeychain) console.log("(no keychain here that is usable and open)");
  console.log(table([["secret from", "ms", "x bare node"], ...rows]));
} finally {
  if (hasKeychain) run(["secrets", "rm", KEYCHAIN_ITEM]);
  servers.process.stdin.end();
  rmSync(home, { recursive: true, force: true });
}

/** Writes the profiles and returns their names. */
function prepare() {
  mkdirSync(join(home, "config"), { recursive: true, mode: 0o700 });
  const refs = {
    env: "env:BENCH_VALUE",
    local: "local:bench",
    ...(hasKeychain && { keychain: KEYCHAIN_ITEM }),
    ...servers.refs,
  };
  const profiles = Object.fromEntries(
    Object.entries(refs).map(([name, from]) => [name, { command: "node", secrets: { VALUE: from } }]),
  );
  const document = JSON.stringify({ version: 1, providers: servers.providers, profiles });
  writeFileSync(join(home, "config/mcp-run.yaml"), document, { mode: 0o600 });
  const stored = run(["secrets", "set", "local:bench"], "canary-bench");
  if (stored.status !== 0) throw new Error(stored.stderr);
  Object.assign(env, servers.credentials);
  return Object.keys(refs);
}

function run(args, input = "") {
  return spawnSync(process.execPath, [MCP_RUN, ...args], { env, input, encoding: "utf8", timeout: 20_000 });
}

function timed(argv) {
  const start = performance.now();
  const ran = spawnSync(process.execPath, argv, { env, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${argv.join(" ")} ended with ${ran.status}: ${ran.stderr}`);
  return performance.now() - start;
}

async function startServers() {
  const bundle = await rolldown({
    input: join(import.meta.dirname, "good-backends.ts"),
    platform: "node",
    logLevel: "silent",
  });
  await bundle.write({ file: join(home, "good-backends.mjs"), format: "esm" });
  await bundle.close();
  const child = spawn(process.execPath, [join(home, "good-backends.mjs"), join(home, "ca.pem")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout, "data");
  return { process: child, ...JSON.parse(line) };
}

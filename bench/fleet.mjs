/**
 * A rotation over a fleet: from the put of an entry until the last supervisor has said that it has the new value, without
 * waves. One nats-server, one operator, and supervisors that share a few processes, all on this machine, each with a
 * connection of its own; their looks take 50 ms. In a last round one in a hundred is silent, half of those killed and
 * half stopped: they are named, and catch up when others are started in their place, or they go on.
 * Goal: 10,000 within 2 s on two cores. COUNTS, ROUNDS and PROCESSES say otherwise.
 */
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { median, table } from "./pairs.mjs";

const COUNTS = (process.env.COUNTS ?? "1000,3000,10000").split(",").map(Number);
const ROUNDS = Number(process.env.ROUNDS ?? 5);
const PROCESSES = Number(process.env.PROCESSES ?? 4);
const REF = "vault:mcp/github#token";
const PATIENCE_MS = 60_000;

const program = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"]
  .map((folder) => join(folder, "nats-server"))
  .find((file) => existsSync(file));
if (program) await measureAll();
else console.log("left out: nats-server is not on this machine");

async function measureAll() {
  const home = mkdtempSync(join(tmpdir(), "mcp-run-bench-"));
  try {
    const parts = {
      supervisors: await bundled(home, "fleet-supervisors"),
      operator: await import(pathToFileURL(await bundled(home, "fleet-operator"))),
    };
    const rows = [];
    for (const count of COUNTS.filter(isAllowed))
      rows.push(await measured(join(home, String(count)), count, parts));
    console.log(`${cpus().length} cores, Node ${process.version}, medians of ${ROUNDS} rounds; ms`);
    const head = ["supervisors", "join", "put to last ack", "at worst", "call to last answer", "history"];
    console.log(
      table([[...head, "silent named", "killed catch up", "stopped catch up", "server MB"], ...rows]),
    );
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** The server has a file open for each; it raises the soft limit by itself. */
function isAllowed(count) {
  const limits = existsSync("/proc/self/limits") ? readFileSync("/proc/self/limits", "utf8") : "";
  const hard = Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  if (count + 100 <= hard) return true;
  console.log(`left out: ${count} supervisors need more open files than ${hard} (ulimit -Hn)`);
  return false;
}

async function measured(
  home,
  count,
  { supervisors, operator: { BusOperator, Secret, busKey, systemClock } },
) {
  const server = await natsServer(home);
  const children = [];
  const signal = AbortSignal.timeout(10 * PATIENCE_MS);
  const start = (first, size, value) => {
    const child = spawn(process.execPath, [supervisors, server.url, String(first), String(size), value], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    children.push(child);
    return child;
  };
  let operator;
  try {
    const options = {
      servers: [server.url],
      credentials: new Secret("op:bench"),
      host: "bench",
      clock: systemClock,
    };
    operator = await BusOperator.connect(options, signal);
    await operator.setUp({ replicas: 1 }, signal);
    const key = busKey({ from: REF });

    const half = Math.max(1, Math.round(count / 200));
    const share = Math.ceil((count - 2 * half) / PROCESSES);
    const began = performance.now();
    const all = gather(operator, count, () => true);
    for (let first = 2 * half; first < count; first += share)
      start(first, Math.min(share, count - first), "old");
    const dying = start(0, half, "old");
    const stopped = start(half, half, "old");
    await all;
    const joined = performance.now() - began;

    const rotate = async (round, wanted, awake = children) => {
      const value = `value-${round}`;
      for (const child of awake) await say(child, value);
      const entryKey = randomBytes(32);
      const fingerprint = createHmac("sha256", entryKey).update(value).digest("hex");
      const has = ({ secrets: [secret] }) => secret?.rotation === `round-${round}` && secret.state === "has";
      const all = gather(operator, wanted, has);
      const begin = performance.now();
      const entry = {
        rotation: `round-${round}`,
        ref: REF,
        key: entryKey.toString("base64url"),
        fingerprint,
      };
      await operator.put(key, { ...entry, upTo: 1, overMs: 0 }, signal);
      await all;
      return { ms: performance.now() - begin, has };
    };
    const rounds = [];
    for (let round = -1; round < ROUNDS; round++) {
      const { ms } = await rotate(round + 1, count);
      if (round >= 0) rounds.push(ms);
    }

    const called = performance.now();
    let lastAnswer = called;
    const stop = operator.onReport(({ call }) => {
      if (call) lastAnswer = performance.now();
    });
    const answered = await operator.call({ forMs: 10_000, quietMs: 1_000 }, signal);
    stop();
    if (answered.length !== count) throw new Error(`${answered.length} of ${count} have answered`);

    dying.kill("SIGKILL");
    await once(dying, "exit");
    children.splice(children.indexOf(dying), 1);
    stopped.kill("SIGSTOP");
    const awake = children.filter((child) => child !== stopped);
    const { has } = await rotate(ROUNDS + 1, count - 2 * half, awake);
    const asked = performance.now();
    const history = await operator.history(signal);
    const read = performance.now() - asked;
    const silent = history.filter((report) => report.state === "serving" && !has(report));
    if (silent.length !== 2 * half) throw new Error(`${silent.length} are named, and ${2 * half} are silent`);

    const caughtUp = async (first, comeBack) => {
      const isBack = (report) => report.pid >= first && report.pid < first + half && has(report);
      const all = gather(operator, half, isBack);
      const back = performance.now();
      await comeBack();
      await all;
      return (performance.now() - back).toFixed(0);
    };
    const newValue = `value-${ROUNDS + 1}`;
    const started = await caughtUp(0, () => start(0, half, newValue));
    const goneOn = await caughtUp(half, async () => {
      stopped.kill("SIGCONT");
      await say(stopped, newValue);
    });

    return [
      count,
      joined.toFixed(0),
      median(rounds).toFixed(0),
      Math.max(...rounds).toFixed(0),
      (lastAnswer - called).toFixed(0),
      read.toFixed(0),
      silent.length,
      started,
      goneOn,
      server.peakMegabytes(),
    ];
  } finally {
    await operator?.close();
    for (const child of children) child.kill("SIGKILL");
    await server.stop();
  }
}

/** Resolves when so many supervisors have reported what is looked for. */
function gather(operator, wanted, isLookedFor) {
  const found = new Set();
  return new Promise((resolve, reject) => {
    const inVain = () => reject(new Error(`waited in vain: ${found.size} of ${wanted}`));
    const timer = setTimeout(inVain, PATIENCE_MS);
    const stop = operator.onReport((report) => {
      if (!isLookedFor(report)) return;
      found.add(report.instance);
      if (found.size < wanted) return;
      clearTimeout(timer);
      stop();
      resolve();
    });
  });
}

/** What the backend has from now on. */
async function say(child, value) {
  child.stdin.write(`${value}\n`);
  await once(child.stdout, "data");
}

async function natsServer(home) {
  mkdirSync(home);
  const port = await freePort();
  const file = join(home, "nats.conf");
  const users = "users: [{ user: op, password: bench }]";
  writeFileSync(
    file,
    `listen: "127.0.0.1:${port}"
jetstream { store_dir: "${home}/store" }
accounts { FLEET { jetstream: enabled, ${users} } }
`,
  );
  const child = spawn(program, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: child.stderr })) if (/Server is ready/.test(line)) break;
  child.stderr.resume();
  return {
    url: `nats://127.0.0.1:${port}`,
    /** What it has taken at most, where the system tells it. */
    peakMegabytes() {
      const status = `/proc/${child.pid}/status`;
      const kilobytes = existsSync(status) && /VmHWM:\s+(\d+)/.exec(readFileSync(status, "utf8"))?.[1];
      return kilobytes ? Math.round(kilobytes / 1024) : "?";
    },
    async stop() {
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function bundled(home, name) {
  const file = join(home, `${name}.mjs`);
  const input = join(import.meta.dirname, `${name}.ts`);
  const bundle = await rolldown({ input, platform: "node", external: [/^node:/], logLevel: "silent" });
  await bundle.write({ file, format: "esm" });
  return file;
}

/** Twenty real mcp-runs of the built program with one secret of the local store, and a new value for all of them. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import type { Acknowledgement } from "../../../src/rotation/contract.ts";
import { LocalFleet } from "../../../src/rotation/fleet/local-fleet.ts";
import { Installation, MAIN } from "../../helpers/installation.ts";
import { firstLine, isAlive, until } from "../../helpers/processes.ts";

const REF = "local:shared";
const KEY = Buffer.alloc(32, 7);
const PATIENCE_MS = 60_000;
const signal = new AbortController().signal;
const fingerprint = (value: string) => createHmac("sha256", KEY).update(value).digest("hex");
const wanted = (value: string) => [{ from: REF, fingerprint: fingerprint(value) }];

/** Starts in milliseconds; `slow` is answered once there is the file DONE, `check` passes if KEY does not begin with what the profile says. */
const SERVER = `
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\\n' "$1" "$2"; }
while IFS= read -r line; do
  id=\${line#*'"id":'}; id=\${id%%,*}
  case $line in
    *'"method":"initialize"'*)
      answer "$id" '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/list"'*) answer "$id" '{"tools":[]}' ;;
    *'"name":"slow"'*) echo begun >&2; while [ ! -e "$DONE" ]; do sleep 0.1; done; answer "$id" '{"content":[]}' ;;
    *'"name":"check"'*)
      case $KEY in
        "$REFUSED"*) answer "$id" '{"content":[],"isError":true}' ;;
        *) answer "$id" '{"content":[]}' ;;
      esac ;;
  esac
done`;

let mcpRun: Installation;
const running: ChildProcess[] = [];

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set(REF, "canary-old-value");
  profile("p", "");
});

afterEach(async () => {
  for (const child of running) child.stdin?.end();
  const pids = running.splice(0).map(({ pid }) => pid as number);
  try {
    await until("all have ended", () => !pids.some(isAlive));
  } finally {
    for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    mcpRun.remove();
  }
});

function profile(name: string, keys: string, refused = "nothing"): void {
  mcpRun.profile(
    name,
    `command: /bin/sh\nargs: [${mcpRun.write("server.sh", SERVER)}]\nenv: { REFUSED: ${refused}, DONE: ${join(mcpRun.home, "done")} }\n` +
      `probe: { tool: check }\n${keys}\nsecrets: { KEY: "${REF}" }\n`,
  );
}

/** Clients that have shaken hands, and whose supervisors can be found. Gives their pids. */
async function start(...names: readonly string[]): Promise<readonly number[]> {
  const before = sockets().length;
  const children = names.map((name) =>
    spawn(process.execPath, [MAIN, name], {
      env: mcpRun.env,
      cwd: mcpRun.home,
      stdio: ["pipe", "pipe", "pipe"],
    }),
  );
  running.push(...children);
  await Promise.all(
    children.map(async ({ stdin, stdout }) => {
      const answer = firstLine(stdout);
      const clientInfo = { name: "test", version: "1" };
      const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo };
      stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 0, method: "initialize", params })}\n`);
      expect(await answer).toContain('"serverInfo"');
      stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    }),
  );
  await until("all can be found", () => sockets().length === before + names.length, PATIENCE_MS);
  return children.map(({ pid }) => pid as number);
}

function sockets(): readonly string[] {
  const folder = "state/run";
  if (!mcpRun.has(folder)) return [];
  return readdirSync(join(mcpRun.home, folder)).filter((name) => name.endsWith(".sock"));
}

function localFleet(): LocalFleet {
  const place = {
    folder: join(mcpRun.home, "state/run"),
    platform: process.platform,
    uid: process.getuid?.(),
    loginName: () => "somebody",
  };
  return new LocalFleet({ place, clock: systemClock });
}

function statesOf(told: readonly Acknowledgement[], pids: readonly number[]): readonly string[] {
  return pids.map((pid) => told.find((one) => one.pid === pid)?.state ?? "nobody");
}

describe("twenty servers with one secret", () => {
  it("all get its new value, in a new generation of their own", { timeout: 2 * PATIENCE_MS }, async () => {
    const pids = await start(...Array.from({ length: 20 }, () => "p"));
    const fleet = localFleet();
    const members = await fleet.list([{ from: REF }], signal, KEY);
    mcpRun.set(REF, "canary-new-value");

    const told = await fleet.spread(wanted("canary-new-value"), KEY, PATIENCE_MS, signal, () => undefined);

    expect(members).toHaveLength(20);
    expect(members.every(({ generation, canSwap }) => generation === 1 && canSwap)).toBe(true);
    expect(told).toHaveLength(20);
    for (const pid of pids)
      expect(told).toContainEqual(
        expect.objectContaining({ pid, profile: "p", generation: 2, state: "acknowledged" }),
      );
  });

  it("are not done while an old one works for its client", { timeout: 2 * PATIENCE_MS }, async () => {
    await start("p");
    const { stdin, stdout, stderr } = running.at(-1) as ChildProcess;
    let chatter = "";
    stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      chatter += chunk;
    });
    const call = { jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "slow", arguments: {} } };
    stdin?.write(`${JSON.stringify(call)}\n`);
    let isAnswered = false;
    const answered = firstLine(stdout as Readable).then((line) => {
      isAnswered = true;
      return line;
    });
    await until("it is being worked on", () => chatter.includes("begun"));
    mcpRun.set(REF, "canary-new-value");
    const reasons = new Set<string | undefined>();

    const told = await localFleet().spread(wanted("canary-new-value"), KEY, PATIENCE_MS, signal, (all) => {
      reasons.add(all[0]?.reason);
      if (all[0]?.reason === "its old server finishes its work") mcpRun.write("done", "");
      if (all[0]?.state === "acknowledged") expect(isAnswered).toBe(true);
    });

    expect(told).toMatchObject([{ state: "acknowledged", generation: 2 }]);
    expect(isAnswered).toBe(true);
    expect(await answered).toContain('"id":7');
    expect([...reasons]).toContain("its old server finishes its work");
  });

  it("are told apart: who has it, failed, ended or can't swap", { timeout: 2 * PATIENCE_MS }, async () => {
    profile("picky", "", "canary-new");
    profile("fixed", "refresh: { restart: never }");
    const good = Array.from({ length: 15 }, () => "p");
    const pids = await start(...good, "picky", "picky", "picky", "fixed", "p");
    const killed = pids.at(-1) as number;
    // It can't have taken the new value on before it is killed.
    process.kill(killed, "SIGSTOP");
    mcpRun.set(REF, "canary-new-value");
    const progress: Acknowledgement[][] = [];
    const spreading = localFleet().spread(wanted("canary-new-value"), KEY, PATIENCE_MS, signal, (all) => {
      progress.push([...all]);
      const isAsked = all.some(({ pid }) => pid === killed);
      if (isAsked && isAlive(killed)) process.kill(killed, "SIGKILL");
    });

    const told = await spreading;

    expect(statesOf(told, pids.slice(0, -1))).toEqual([
      ...good.map(() => "acknowledged"),
      ...["failed", "failed", "failed"],
      "cannot-swap",
    ]);
    for (const { reason } of told.filter(({ state }) => state === "failed"))
      expect(reason).toBe("no other server could take over: its probe check failed");
    expect(statesOf(told, [killed])).toEqual(["gone"]);
    expect(progress.at(-1)).toEqual(told);
    expect(JSON.stringify([told, progress])).not.toContain("canary");
  });
});

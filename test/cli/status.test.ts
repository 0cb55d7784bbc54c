/** Running servers as `mcp-run status` shows them, and what else their sockets are good for; the built program. */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { ask, type Question } from "../../src/control/client.ts";
import type { SupervisorStatus } from "../../src/control/protocol.ts";
import { Installation, MAIN } from "../helpers/installation.ts";
import { KeyedSession, type SessionStart } from "../helpers/keyed-session.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

const KEY = Buffer.alloc(32, 7);
const SCRIPT = "/usr/bin/script";

let mcpRun: Installation;
let secretFile: string;
const sessions: KeyedSession[] = [];
/** Of what was started without a session. */
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  secretFile = mcpRun.write("secrets/key", "canary-one");
});

afterEach(async () => {
  for (const pid of stopped) if (isAlive(pid)) process.kill(pid, "SIGCONT");
  stopped.clear();
  for (const session of sessions.splice(0)) await session.close();
  killAll(pids);
  pids.clear();
  mcpRun.remove();
});

function socketOf(pid: number): string {
  return join(mcpRun.home, `state/run/${pid}.sock`);
}

/** A session that others can see, or that has said why they can't. */
async function serving({
  keys = "",
  ...options
}: SessionStart & { readonly keys?: string } = {}): Promise<KeyedSession> {
  const secrets = `secrets: { KEY: "file:${secretFile}" }`;
  const session = await KeyedSession.start(mcpRun, `${keys}\n${secrets}\n`, options);
  sessions.push(session);
  await session.canBeSeen();
  return session;
}

function asked<Type extends "status" | "refresh" | "acknowledge">(pid: number, question: Question<Type>) {
  const options = { timeoutMs: 30_000, clock: systemClock, signal: new AbortController().signal };
  return ask({ pid, path: socketOf(pid) }, question, options);
}

/** Of mcp-runs that a test has stopped, so that they can't answer. */
const stopped = new Set<number>();

function stop(pid: number): void {
  stopped.add(pid);
  process.kill(pid, "SIGSTOP");
}

/** Looks again where somebody else has not answered within the 2 s that one has: a machine may be busy. */
function statusJson(...args: string[]): {
  supervisors: SupervisorStatus[];
  silent: readonly { readonly pid: number }[];
} {
  for (let tries = 1; ; tries++) {
    const ran = mcpRun.run(["status", "--json", ...args]);
    expect(ran).toMatchObject({ status: 0, stderr: "" });
    const seen = JSON.parse(ran.stdout) as ReturnType<typeof statusJson>;
    if (tries === 10 || seen.silent.every(({ pid }) => stopped.has(pid))) return seen;
  }
}

describe("mcp-run status", () => {
  it("says that nothing is running, and is content", () => {
    expect(mcpRun.run(["status"])).toMatchObject({ status: 0, stdout: "Nothing is running.\n", stderr: "" });
    expect(statusJson()).toEqual({ version: 1, supervisors: [], silent: [], unfinished: [] });
  });

  it("shows what a person wants to know of each server, and no value", async () => {
    const one = await serving({ keys: "refresh: { every: 1h }" });
    const other = await serving();
    await one.ask();

    const { status, stdout, stderr } = mcpRun.run(["status"]);

    expect([status, stderr]).toEqual([0, ""]);
    const [head, first, second] = stdout.split("\n");
    expect(head).toMatch(
      /^PROFILE +PID +CLIENT +STATE +GEN +UP +RESTARTS +NEXT LOOK +SECRET +VERSION +AGE +REF$/,
    );
    expect(first).toMatch(
      new RegExp(
        `^p +${one.pid} +test +serving +1 +\\d+s +0 +in (1h|\\d\\dm).* +KEY +\\S+ +\\d+s +file:\\S+$`,
      ),
    );
    expect(second).toMatch(
      new RegExp(`^p +${other.pid} +test +serving +1 +\\d+s +0 +- +KEY +\\S+ +\\d+s +file:\\S+$`),
    );
    expect(stdout).toContain(`p (${one.pid}): the server told the client a secret in 1 message\n`);
    expect(stdout).not.toContain("canary");
  });

  it("has a stable shape for programs", async () => {
    const session = await serving({ keys: "refresh: { every: 1h }" });
    const { pid: serverPid } = await session.ask();

    const { supervisors } = statusJson();

    expect(supervisors).toEqual([
      {
        pid: session.pid,
        host: expect.any(String),
        user: expect.any(String),
        profile: "p",
        file: join(mcpRun.home, "config/profiles/p.yaml"),
        command: "node",
        startedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        uptimeMs: expect.any(Number),
        state: "serving",
        client: { name: "test", version: "1.0.0" },
        era: "legacy",
        generation: 1,
        serverPid,
        restarts: 0,
        secrets: [
          {
            name: "KEY",
            ref: `file:${secretFile}`,
            provider: "file",
            version: expect.any(String),
            createdAt: expect.stringMatching(/Z$/),
            fetchedAt: expect.stringMatching(/Z$/),
          },
        ],
        refresh: { mode: "overlap", isLooking: false, nextAt: expect.stringMatching(/Z$/) },
        scrubbed: 0,
        leaks: 1,
      },
    ]);
  });

  it("shows one profile if that is asked for, by its name or its file", async () => {
    const session = await serving({ name: "one" });
    await serving({ name: "two" });
    const file = join(mcpRun.home, "config/profiles/one.yaml");

    const pidsOf = (wanted: string) => statusJson(wanted).supervisors.map(({ pid }) => pid);

    expect([pidsOf("one"), pidsOf(file), pidsOf("three")]).toEqual([[session.pid], [session.pid], []]);
  });

  it("tells a probe by its exit code whether a server of a profile serves", async () => {
    const before = mcpRun.run(["status", "p", "--check"]);
    const session = await serving();
    const serves = mcpRun.run(["status", "p", "--check"]);
    const other = mcpRun.run(["status", "q", "--check", "--json"]);
    stop(session.pid);
    const hangs = mcpRun.run(["status", "p", "--check"]);

    expect(before).toMatchObject({ status: 69, stdout: "" });
    expect(before.stderr).toMatch(/^mcp-run: Cannot find a server of p: nothing runs\. Try .*\n$/);
    expect(serves).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(other.status).toBe(69);
    expect(JSON.parse(other.stdout)).toMatchObject({ supervisors: [] });
    expect(hangs.status).toBe(69);
    expect(hangs.stderr).toContain(`Cannot find a server of p: ${session.pid} does not answer. Try`);
    expect(mcpRun.run(["status", "--check", "--watch"]).status).toBe(64);
  });

  it("counts restarts and masks, and tells of a look that failed", async () => {
    const session = await serving({ before: "console.error(process.env.KEY)" });
    await session.ask();
    await session.client.callTool({ name: "die", arguments: { code: 1 } }).catch(() => undefined);
    await until("it is back", () => session.log.includes("generation 2 has taken over"));
    await session.ask();
    chmodSync(join(mcpRun.home, "secrets"), 0o700);
    writeFileSync(secretFile, "");
    process.kill(session.pid, "SIGUSR2");
    await until("the look has failed", () => session.log.includes("the next try"));

    const [seen] = statusJson().supervisors;

    expect(seen).toMatchObject({ restarts: 1, generation: 2, scrubbed: 2 });
    expect(seen?.refresh.lastFailure?.reason).toContain("KEY");
    expect(mcpRun.run(["status"]).stdout).toMatch(
      /^p \(\d+\): the last look failed \d+s ago: .*KEY.*\np \(\d+\): the server told .* in 2 messages\np \(\d+\): 2 secrets masked on stderr\n$/m,
    );
  });

  it("takes a client's word for its name only so far", async () => {
    await serving({ clientName: `canary-one\u001b[2J${"x".repeat(10_000)}` });

    const [seen] = statusJson().supervisors;
    const { stdout } = mcpRun.run(["status"]);

    const shown = "[mcp-run:KEY]\u001b[2J";
    expect(seen?.client?.name).toBe(shown + "x".repeat(100 - shown.length));
    expect(stdout).toContain("[mcp-run:KEY]\\e[2Jxxx");
  });

  it("says when there is no server just now", async () => {
    const closed = join(mcpRun.home, "closed");
    // It hangs: after five that have ended mcp-run would give up.
    const before = `if (require("node:fs").existsSync(${JSON.stringify(closed)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`;
    const session = await serving({ before });
    writeFileSync(closed, "");
    const { pid } = await session.ask();
    process.kill(pid, "SIGKILL");
    await until("it has gone", () => !isAlive(pid));

    expect(statusJson().supervisors).toMatchObject([{ state: "backing-off", generation: 1 }]);
  });

  it("clears away what a killed mcp-run has left", async () => {
    const killed = await serving();
    const { pid: serverPid } = await killed.ask();
    process.kill(killed.pid, "SIGKILL");
    await until("its server has gone too", () => !isAlive(killed.pid) && !isAlive(serverPid));
    expect(existsSync(socketOf(killed.pid))).toBe(true);

    expect(statusJson()).toMatchObject({ supervisors: [], silent: [] });

    expect(readdirSync(join(mcpRun.home, "state/run"))).not.toContain(`${killed.pid}.sock`);
  });

  it("names a supervisor that does not answer, and shows the others", async () => {
    const hung = await serving();
    const other = await serving();
    stop(hung.pid);

    const { supervisors, silent } = statusJson();
    const { stdout } = mcpRun.run(["status"]);

    expect(supervisors.map(({ pid }) => pid)).toEqual([other.pid]);
    expect(silent).toEqual([{ pid: hung.pid, reason: "no answer within 2 s" }]);
    expect(stdout).toMatch(new RegExp(`^\\? +${hung.pid} +- +silent$`, "m"));
    expect(stdout).toContain(`${hung.pid} does not answer: no answer within 2 s\n`);
  });

  it("leaves no socket behind when a session ends", async () => {
    const { client, pid } = await serving();
    await client.close();

    expect(existsSync(socketOf(pid))).toBe(false);
  });

  it("is refused where others can enter the folder of the sockets", () => {
    mkdirSync(join(mcpRun.home, "state/run"), { recursive: true });
    chmodSync(join(mcpRun.home, "state/run"), 0o755);

    const ran = mcpRun.run(["status"]);

    expect(ran).toMatchObject({ status: 77, stdout: "" });
    expect(ran.stderr).toMatch(
      /^mcp-run: Cannot use the folder .*: others can enter it\. Try chmod 700 .*run\.\n$/,
    );
  });

  it("can't be watched as JSON, nor without a terminal", () => {
    expect(mcpRun.run(["status", "--watch"])).toMatchObject({ status: 64, stdout: "" });
    expect(mcpRun.run(["status", "--watch", "--json"])).toMatchObject({ status: 64, stdout: "" });
  });

  it.runIf(process.platform === "linux" && existsSync(SCRIPT))(
    "is drawn again and again on a terminal, on a screen of its own, until somebody ends it",
    async () => {
      const session = await serving();
      const command = `'${process.execPath}' '${MAIN}' status --watch`;
      const shell = mcpRun.write(
        "shell",
        `stty cols 60 rows 20; ${command} & echo $! >pid; wait $!; echo $? >status\n`,
      );
      const terminal = spawn(SCRIPT, ["-qc", `sh ${shell}`, "/dev/null"], {
        env: mcpRun.env,
        cwd: mcpRun.home,
        stdio: ["pipe", "pipe", "ignore"],
      });
      pids.add(terminal.pid as number);
      const shown = collected(terminal.stdout);
      const drawn = () => shown().split("\u001b[H").slice(1);
      await until("it is drawn twice", () => drawn().length > 2);

      process.kill(Number(mcpRun.read("pid")), "SIGINT");

      await until("it has ended", () => mcpRun.has("status") && mcpRun.read("status").length > 0);
      expect(mcpRun.read("status").toString()).toBe("0\n");
      expect(shown().startsWith("\u001b[?1049h\u001b[?25l\u001b[HPROFILE")).toBe(true);
      expect(shown()).toContain("\u001b[?25h\u001b[?1049l");
      const [head = "", first = ""] = (drawn()[1] ?? "").split("\r\n");
      expect(first).toContain(String(session.pid));
      expect(head.replace("\u001b[K", "").trimEnd().length).toBeLessThanOrEqual(60);
    },
  );
});

describe("the socket of a running server", () => {
  it("has the server get its changed secret, as SIGUSR2 does, in the same session", async () => {
    const session = await serving();
    const before = await session.ask();
    writeFileSync(secretFile, "canary-two");

    const refreshed = await asked(session.pid, {
      type: "refresh",
      refs: [`file:${secretFile}`],
      rotation: "r1",
    });
    const after = await session.has("canary-two");

    expect(refreshed).toMatchObject({ answer: { accepted: true, generation: 1 } });
    expect(after.pid).not.toBe(before.pid);
    const [seen] = statusJson().supervisors;
    expect(seen).toMatchObject({ generation: 2, serverPid: after.pid, refresh: { isLooking: false } });
    expect(Date.parse(seen?.refresh.lastLookAt ?? "")).toBeGreaterThan(Date.parse(seen?.startedAt ?? ""));
  });

  it("does not look for refs that it has not", async () => {
    const { pid } = await serving();
    expect(await asked(pid, { type: "refresh", refs: ["vault:other"] })).toMatchObject({
      answer: { accepted: false },
    });
    expect(statusJson().supervisors[0]?.refresh).toEqual({ mode: "overlap", isLooking: false });
  });

  it("proves which value the server has, which under `never` stays the old one", async () => {
    const session = await serving({ keys: "refresh: { restart: never }" });
    const refs = [`file:${secretFile}`, "vault:other"];
    const prove = () => asked(session.pid, { type: "acknowledge", refs, key: KEY.toString("base64url") });
    const before = await prove();
    writeFileSync(secretFile, "canary-two");
    await asked(session.pid, { type: "refresh" });
    await until("it is reported", () => session.log.includes("the server goes on with the old"));
    const after = await prove();

    const fingerprint = createHmac("sha256", KEY).update("canary-one").digest("hex");
    expect(before).toMatchObject({
      answer: {
        pid: session.pid,
        generation: 1,
        isChanging: false,
        secrets: [{ ref: refs[0], name: "KEY", fingerprint }],
      },
    });
    expect(after).toMatchObject({ answer: { generation: 1, secrets: [{ fingerprint }] } });
  });

  it("gives nobody a secret, whatever is asked", async () => {
    const session = await serving({ before: "console.error(process.env.KEY)" });
    await session.ask();
    const key = KEY.toString("base64url");
    const ref = `file:${secretFile}`;
    const said: string[] = [];
    for (const request of [
      { v: 1, type: "status" },
      { v: 1, type: "refresh", refs: [ref] },
      { v: 1, type: "acknowledge", refs: [ref], key },
      { v: 1, type: "canary", refs: [ref], rotation: "r1" },
      { v: 1, type: "reveal", refs: [ref] },
      { v: 2, type: "status" },
      "garbage",
    ]) {
      const socket = connect(socketOf(session.pid));
      const told = collected(socket);
      socket.write(`${JSON.stringify(request)}\n`);
      await new Promise((resolve) => socket.once("close", resolve));
      said.push(told());
    }

    const everything = said.join("");
    expect(said.map((line) => JSON.parse(line).ok)).toEqual([true, true, true, false, false, false, false]);
    for (const encoding of ["utf8", "base64", "base64url", "hex"] as const)
      expect(everything).not.toContain(Buffer.from("canary-one").toString(encoding));
  });

  it("does not slow the client down, whoever is on it", async () => {
    const session = await serving();
    const peers = Array.from({ length: 200 }, () => connect(socketOf(session.pid)));
    for (const [index, peer] of peers.entries()) {
      peer.on("error", () => undefined);
      peer.write(index % 2 === 0 ? "x".repeat(1_000_000) : '{"v":1,"type":');
    }

    for (let call = 0; call < 20; call++) expect((await session.ask()).key).toBe("canary-one");
    const seen = statusJson();
    for (const peer of peers) peer.destroy();

    expect(seen.supervisors.map(({ pid }) => pid)).toEqual([session.pid]);
  });

  it("is missed once on stderr where there can be none, and the server serves", async () => {
    mkdirSync(join(mcpRun.home, "state/run"), { recursive: true });
    chmodSync(join(mcpRun.home, "state/run"), 0o755);
    const unsafe = await serving();
    expect((await unsafe.ask()).key).toBe("canary-one");
    expect(
      unsafe.log.match(/Warning: mcp-run status will not show this server: .*others can enter it/g),
    ).toHaveLength(1);

    const farAway = join(mcpRun.home, "x".repeat(120));
    mkdirSync(join(farAway, "config"), { recursive: true, mode: 0o700 });
    const profile = mcpRun.write("far.yaml", mcpRun.read("config/profiles/p.yaml"));
    const tooLong = await KeyedSession.of(mcpRun, { name: profile, env: { MCP_RUN_HOME: farAway } });
    sessions.push(tooLong);
    expect((await tooLong.ask()).key).toBe("canary-one");
    await tooLong.says(/the path has \d+ bytes, and the system allows \d+\. Try a shorter MCP_RUN_HOME\./);
  });
});

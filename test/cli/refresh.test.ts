/** A secret that changes, and a server that dies, under a client of the official SDK and the built program. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { KeyedSession } from "../helpers/keyed-session.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";

const STUBBORN = join(import.meta.dirname, "../helpers/servers/stubborn.mjs");

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
  for (const session of sessions.splice(0)) await session.close();
  killAll(pids);
  pids.clear();
  mcpRun.remove();
}, 60_000);

/** A session with the server under a profile of these keys. */
async function serving(keys: string, secrets = "KEY: file:SECRET_FILE"): Promise<KeyedSession> {
  const body = `${keys}\nsecrets: { ${secrets} }\n`.replaceAll("SECRET_FILE", secretFile);
  const session = await KeyedSession.start(mcpRun, body);
  sessions.push(session);
  return session;
}

/** At once: it may be read at any moment, and half of it would be another value. */
function change(value: string): void {
  writeFileSync(`${secretFile}-next`, value, { mode: 0o600 });
  renameSync(`${secretFile}-next`, secretFile);
}

describe("a secret that changes", () => {
  it("reaches the server at SIGUSR2, in the same session, by another process", async () => {
    const session = await serving("");
    const before = await session.ask();
    change("canary-two");
    session.refresh();
    const after = await session.has("canary-two");

    expect(after.pid).not.toBe(before.pid);
    await until("the old server has gone", () => !isAlive(before.pid));
    expect(session.log).toMatch(
      /p: generation 2 has taken over after \d+ ms with new KEY \(file:[^)]*, version [^)]*\)\n/,
    );
    expect(session.log).not.toContain("canary-");
  });

  it("reaches it where a rotation was at work while the first server was prepared", async () => {
    const [begun, go] = [join(mcpRun.home, "begun"), join(mcpRun.home, "go")];
    const slow = mcpRun.write(
      "slow.mjs",
      `import { existsSync, writeFileSync } from "node:fs";
writeFileSync(${JSON.stringify(begun)}, "");
setInterval(() => existsSync(${JSON.stringify(go)}) && process.exit(console.log("canary-slow")), 20);`,
    );
    const slowly = `SLOW: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(slow)}] }`;
    const beginning = serving("", `KEY: "file:SECRET_FILE", ${slowly}`);
    await until("it fetches", () => existsSync(begun));
    mcpRun.write("state/rotations/20270115-080000-abcdef.jsonl", "");
    // By now it has read the other one; if it has not, it has the new one from the start.
    change("canary-two");
    writeFileSync(go, "");

    await (await beginning).has("canary-two");
  });

  it("reaches it by itself with `every`", async () => {
    const session = await serving("refresh: { every: 1s }");
    await session.ask();
    change("canary-two");

    await session.has("canary-two");
  });

  it("reaches it at the time of a cron line", async () => {
    const session = await serving('refresh: { cron: "* * * * * *", timezone: Asia/Tokyo }');
    await session.ask();
    change("canary-two");

    await session.has("canary-two");
  });

  it("reaches a server that can't run twice", async () => {
    const session = await serving("refresh: { restart: sequential }");
    const before = await session.ask();
    change("canary-two");
    session.refresh();

    await session.has("canary-two");
    expect(isAlive(before.pid)).toBe(false);
  });

  it("is only reported under `never`", async () => {
    const session = await serving("refresh: { restart: never }");
    const before = await session.ask();
    change("canary-two");
    session.refresh();
    await session.says("the server goes on with the old");

    expect(await session.ask()).toEqual(before);
  });

  it("is written to the same file for a server that reads it again", async () => {
    const session = await serving(
      "refresh: { signal: SIGHUP }",
      'KEY: { from: "file:SECRET_FILE", deliver: file }',
    );
    const before = await session.ask();
    expect(before.fromFile).toBe("canary-one");
    change("canary-two");
    session.refresh();
    await session.says("was sent SIGHUP for new KEY");
    let after = await session.ask();
    for (let tries = 0; after.fromFile !== "canary-two" && tries < 500; tries++) after = await session.ask();

    expect(after).toEqual({ pid: before.pid, fromFile: "canary-two" });
  });

  it("does not get into use if the probe fails; the old server goes on, and it is tried again", async () => {
    const good = mcpRun.write("good-keys", "canary-one\ncanary-three\n");
    const session = await serving(`env: { GOOD_KEYS: ${good} }\nprobe: { tool: works }`);
    const before = await session.ask();
    change("canary-two");
    session.refresh();
    await session.says("its probe works failed");
    expect(await session.ask()).toEqual(before);

    change("canary-three");
    await session.has("canary-three");
    expect(session.log.match(/its probe works failed/g)).toHaveLength(1);
    expect(session.log).toContain("the secrets could be looked at again");
  });

  it("that can't be read leaves the server as it is, and is told once", async () => {
    const session = await serving("");
    const before = await session.ask();
    change("");
    session.refresh();
    session.refresh();
    await session.says("Cannot read secret KEY");

    expect(await session.ask()).toEqual(before);
    expect(session.log).toMatch(/the server goes on with what it has, and the next try is in \d+ s\./);
    change("canary-two");
    await session.has("canary-two");
    expect(session.log.match(/Cannot read secret KEY/g)).toHaveLength(1);
  });
});

describe("SIGUSR2 at an odd time", () => {
  it("does not end mcp-run while its server is still being stopped", async () => {
    mcpRun.profile("stubborn", `command: node\nargs: [${JSON.stringify(STUBBORN)}]\nstopGrace: 1s\n`);
    const started = spawn(process.execPath, [MAIN, "stubborn"], { env: mcpRun.env });
    const ended = once(started, "close");
    const pid = started.pid ?? 0;
    pids.add(pid);
    const [up] = await once(started.stdout, "data");
    for (const server of JSON.parse(up).params.pids) pids.add(server);

    started.kill("SIGTERM");
    for (const end = Date.now() + 500; Date.now() < end; ) {
      started.kill("SIGUSR2");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }

    // Of the server, which had to be killed.
    expect(await ended).toEqual([137, null]);
  });

  it("does not end a command that has no use for it", () => {
    mcpRun.profile("p", "command: node\n");

    const ran = mcpRun.run(["exec", "p", "--", "sh", "-c", "kill -USR2 $PPID; exit 3"]);

    expect([ran.status, ran.signal]).toEqual([3, null]);
  });
});

describe("a server that dies", () => {
  it("comes back, with its secret", async () => {
    const session = await serving("");
    const { pid } = await session.ask();
    process.kill(pid, "SIGKILL");
    await session.says("has taken over from the server that ended");
    const after = await session.ask();

    expect(after.pid).not.toBe(pid);
    expect(after.key).toBe("canary-one");
  });

  it("ends mcp-run under `onCrash: exit`", async () => {
    const session = await serving("onCrash: exit");
    await session.ask();
    await expect(session.client.callTool({ name: "die", arguments: { code: 3 } })).rejects.toThrow(
      "the server has ended",
    );

    await until("mcp-run has ended", () => !isAlive(session.pid));
  });
});

describe("a secret that the server tells its client", () => {
  it("is reported once for each method, and passes", async () => {
    const session = await serving("");
    for (const _ of [1, 2]) expect((await session.ask()).key).toBe("canary-one");
    await session.says("value of KEY in tools/call (id ");

    expect(session.log.match(/tells the client/g)).toHaveLength(1);
  });

  it("is masked under `redact`, and the answer stays whole", async () => {
    const session = await serving("scrub: { stdout: redact }");

    expect((await session.ask()).key).toBe("[mcp-run:KEY]");
    await session.says("(id 1); it was masked");
  });

  it("is nobody's business under `off`", async () => {
    const session = await serving("scrub: { stdout: off }");

    expect((await session.ask()).key).toBe("canary-one");
    await session.client.ping();
    expect(session.log).not.toContain("tells the client");
  });
});

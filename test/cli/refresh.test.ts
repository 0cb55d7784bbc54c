/** A secret that changes, and a server that dies, under a client of the official SDK and the built program. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";

const SERVER = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
const STUBBORN = join(import.meta.dirname, "../helpers/servers/stubborn.mjs");

interface Key {
  readonly pid: number;
  readonly key?: string;
  readonly fromFile?: string;
}

interface Session {
  readonly client: Client;
  /** Of mcp-run. */
  readonly pid: number;
  readonly log: () => string;
  readonly key: () => Promise<Key>;
  /** As an operator does after a change. */
  readonly refresh: () => void;
}

let mcpRun: Installation;
let secretFile: string;
const open: Client[] = [];
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  secretFile = mcpRun.write("secrets/key", "canary-one");
});

afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
  await until("nothing is left", () => ![...pids].some(isAlive)).catch((error) => {
    killAll(pids);
    throw error;
  });
  pids.clear();
  mcpRun.remove();
});

/** A session with the server under a profile of these keys. */
async function serving(keys: string, secrets = "KEY: file:SECRET_FILE"): Promise<Session> {
  const body = `command: node\nargs: [${JSON.stringify(SERVER)}]\n${keys}\nsecrets: { ${secrets} }\n`;
  mcpRun.profile("p", body.replaceAll("SECRET_FILE", secretFile));
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, "p"],
    env: mcpRun.env,
    stderr: "pipe",
  });
  let log = "";
  transport.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  const client = new Client({ name: "test", version: "1.0.0" });
  await client.connect(transport);
  open.push(client);
  const pid = transport.pid ?? 0;
  pids.add(pid);
  const key = async () => {
    const { content } = (await client.callTool({ name: "key" })) as { content: { text: string }[] };
    const told = JSON.parse(content[0]?.text ?? "") as Key;
    pids.add(told.pid);
    return told;
  };
  return { client, pid, log: () => log, key, refresh: () => void process.kill(pid, "SIGUSR2") };
}

function change(value: string): void {
  writeFileSync(secretFile, value);
}

async function hasKey({ key }: Session, value: string): Promise<Key> {
  let told = await key();
  for (const end = Date.now() + 30_000; told.key !== value && Date.now() < end; ) told = await key();
  expect(told.key).toBe(value);
  return told;
}

describe("a secret that changes", () => {
  it("reaches the server at SIGUSR2, in the same session, by another process", async () => {
    const session = await serving("");
    const before = await session.key();
    change("canary-two");
    session.refresh();
    const after = await hasKey(session, "canary-two");

    expect(after.pid).not.toBe(before.pid);
    await until("the old server has gone", () => !isAlive(before.pid));
    expect(session.log()).toMatch(
      /p: generation 2 has taken over after \d+ ms with new KEY \(file:[^)]*, version [^)]*\)\n/,
    );
    expect(session.log()).not.toContain("canary-");
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

    await hasKey(await beginning, "canary-two");
  });

  it("reaches it by itself with `every`", async () => {
    const session = await serving("refresh: { every: 1s }");
    await session.key();
    change("canary-two");

    await hasKey(session, "canary-two");
  });

  it("reaches it at the time of a cron line", async () => {
    const session = await serving('refresh: { cron: "* * * * * *", timezone: Asia/Tokyo }');
    await session.key();
    change("canary-two");

    await hasKey(session, "canary-two");
  });

  it("reaches a server that can't run twice", async () => {
    const session = await serving("refresh: { restart: sequential }");
    const before = await session.key();
    change("canary-two");
    session.refresh();

    await hasKey(session, "canary-two");
    expect(isAlive(before.pid)).toBe(false);
  });

  it("is only reported under `never`", async () => {
    const session = await serving("refresh: { restart: never }");
    const before = await session.key();
    change("canary-two");
    session.refresh();
    await until("it is reported", () => session.log().includes("the server goes on with the old"));

    expect(await session.key()).toEqual(before);
  });

  it("is written to the same file for a server that reads it again", async () => {
    const session = await serving(
      "refresh: { signal: SIGHUP }",
      'KEY: { from: "file:SECRET_FILE", deliver: file }',
    );
    const before = await session.key();
    expect(before.fromFile).toBe("canary-one");
    change("canary-two");
    session.refresh();
    await until("it is told", () => session.log().includes("was sent SIGHUP for new KEY"));
    let after = await session.key();
    for (let tries = 0; after.fromFile !== "canary-two" && tries < 500; tries++) after = await session.key();

    expect(after).toEqual({ pid: before.pid, fromFile: "canary-two" });
  });

  it("does not get into use if the probe fails; the old server goes on, and it is tried again", async () => {
    const good = mcpRun.write("good-keys", "canary-one\ncanary-three\n");
    const session = await serving(`env: { GOOD_KEYS: ${good} }\nprobe: { tool: works }`);
    const before = await session.key();
    change("canary-two");
    session.refresh();
    await until("the failure is told", () => session.log().includes("its probe works failed"));
    expect(await session.key()).toEqual(before);

    change("canary-three");
    await hasKey(session, "canary-three");
    expect(session.log().match(/its probe works failed/g)).toHaveLength(1);
    expect(session.log()).toContain("the secrets could be looked at again");
  });

  it("that can't be read leaves the server as it is, and is told once", async () => {
    const session = await serving("");
    const before = await session.key();
    change("");
    session.refresh();
    session.refresh();
    await until("the failure is told", () => session.log().includes("Cannot read secret KEY"));

    expect(await session.key()).toEqual(before);
    expect(session.log()).toMatch(/the server goes on with what it has, and the next try is in \d+ s\./);
    change("canary-two");
    await hasKey(session, "canary-two");
    expect(session.log().match(/Cannot read secret KEY/g)).toHaveLength(1);
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
    const { pid } = await session.key();
    process.kill(pid, "SIGKILL");
    await until("it is back", () => session.log().includes("has taken over from the server that ended"));
    const after = await session.key();

    expect(after.pid).not.toBe(pid);
    expect(after.key).toBe("canary-one");
  });

  it("ends mcp-run under `onCrash: exit`", async () => {
    const session = await serving("onCrash: exit");
    await session.key();
    await expect(session.client.callTool({ name: "die", arguments: { code: 3 } })).rejects.toThrow(
      "the server has ended",
    );

    await until("mcp-run has ended", () => !isAlive(session.pid));
  });
});

describe("a secret that the server tells its client", () => {
  it("is reported once for each method, and passes", async () => {
    const session = await serving("");
    for (const _ of [1, 2]) expect((await session.key()).key).toBe("canary-one");
    await until("it is reported", () => session.log().includes("value of KEY in tools/call (id "));

    expect(session.log().match(/tells the client/g)).toHaveLength(1);
  });

  it("is masked under `redact`, and the answer stays whole", async () => {
    const session = await serving("scrub: { stdout: redact }");

    expect((await session.key()).key).toBe("[mcp-run:KEY]");
    await until("it is reported", () => session.log().includes("(id 1); it was masked"));
  });

  it("is nobody's business under `off`", async () => {
    const session = await serving("scrub: { stdout: off }");

    expect((await session.key()).key).toBe("canary-one");
    await session.client.ping();
    expect(session.log()).not.toContain("tells the client");
  });
});

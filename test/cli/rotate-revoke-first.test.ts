/**
 * A key that is revoked before the new one serves, through the built program, while clients of an official SDK go on
 * asking a server that works only with a key that its issuer takes.
 */
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { KeyedSession, keyedProfile } from "../helpers/keyed-session.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";

const OLD = "canary-old-key";
const NEW = "canary-new-key";
const PATIENCE_MS = 60_000;
const ASKERS = 3;

/** Its keys are the lines of a file, which a server may read at any time. */
const HOOK = `
import { readFileSync, renameSync, writeFileSync } from "node:fs";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { action, value } = JSON.parse(text);
const file = process.argv[2];
const keys = () => readFileSync(file, "utf8").split("\\n").filter(Boolean);
const write = (all) => {
  writeFileSync(file + ".tmp", all.join("\\n") + "\\n");
  renameSync(file + ".tmp", file);
};
const answers = {
  find: () => ({}),
  mint: () => { write([...keys(), "${NEW}"]); return { value: "${NEW}", keyId: "key-2" }; },
  revoke: () => { write(keys().filter((key) => key !== value)); return { revoked: true }; },
  verify: () => ({ accepted: keys().includes(value) }),
};
process.stdout.write(JSON.stringify(answers[action]()));
`;

let mcpRun: Installation;
const sessions: KeyedSession[] = [];
/** Of rotations. */
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set("local:key", OLD);
});

afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  await until("nothing is left", () => ![...pids].some(isAlive), PATIENCE_MS).catch((error) => {
    killAll(pids);
    throw error;
  });
  pids.clear();
  mcpRun.remove();
}, 2 * PATIENCE_MS);

function profile(refresh: string): void {
  const hook = mcpRun.write("hook.mjs", HOOK);
  const keys = mcpRun.write("keys", `${OLD}\n`);
  mcpRun.profile(
    "p",
    keyedProfile(`env: { GOOD_KEYS: ${keys} }
refresh: { ${refresh} }
probe: { tool: works }
secrets: { KEY: { from: "local:key", rotate: { hook: [node, ${hook}, ${keys}], grantOldValue: true } } }
`),
  );
}

/** A session; its mcp-run can be found by others from now on. */
async function serving(): Promise<KeyedSession> {
  const session = await KeyedSession.of(mcpRun);
  sessions.push(session);
  await session.canBeSeen();
  return session;
}

function rotate(
  ...args: readonly string[]
): Promise<{ readonly status: number | null; readonly out: string }> {
  const stdio = ["ignore", "pipe", "pipe"] as const;
  const child = spawn(process.execPath, [MAIN, "rotate", "p", ...args], {
    env: mcpRun.env,
    stdio: [...stdio],
  });
  pids.add(child.pid ?? 0);
  let out = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk) => {
      out += chunk;
    });
  return new Promise((resolve, reject) => {
    child.once("error", reject).once("close", (status) => resolve({ status, out }));
  });
}

/** Some ask one thing after the other until the work is over; gives what did not work. */
async function whileAsking(client: Client, work: Promise<unknown>): Promise<readonly unknown[]> {
  let isOver = false;
  const wrong: unknown[] = [];
  const ask = async () => {
    while (!isOver) {
      const answer = await client.callTool({ name: "works" });
      if (answer.isError) wrong.push(answer.content);
    }
  };
  const over = work.finally(() => {
    isOver = true;
  });
  await Promise.all([over, ...Array.from({ length: ASKERS }, ask)]);
  return wrong;
}

const events = (...names: readonly string[]) => {
  const { stdout } = mcpRun.run(["audit", "--json"]);
  const records = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return records.filter(({ event }) => names.includes(event));
};

describe("a key that is revoked first", () => {
  it.each([
    ["servers that run beside each other", "restart: overlap"],
    ["a server that can't run twice", "restart: sequential"],
  ])("is met by no request, with %s", { timeout: 2 * PATIENCE_MS }, async (_what, refresh) => {
    profile(refresh);
    const { client } = await serving();

    const rotation = rotate("--reason", "abused", "--revoke-first", "--yes");
    const wrong = await whileAsking(client, rotation);

    const { status, out } = await rotation;
    expect(status, out).toBe(0);
    expect(out).toContain("✔ hold: 1 of 1 server holds its requests");
    expect(wrong).toEqual([]);
    expect(mcpRun.read("keys").toString()).toBe(`${NEW}\n`);
    const told = events("hold", "swap", "let-go");
    expect(told).toMatchObject([
      { event: "hold", secrets: [{ name: "KEY" }] },
      { event: "swap" },
      { event: "let-go", reason: "a server with other values serves" },
    ]);
  });

  it("can't be had of a supervisor by messages alone", { timeout: 2 * PATIENCE_MS }, async () => {
    profile("restart: overlap");
    const { client, pid } = await serving();
    const say = (rotation: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(join(mcpRun.home, `state/run/${pid}.sock`));
        let told = "";
        socket.on("data", (chunk) => {
          told += chunk;
        });
        socket.once("error", reject).once("close", () => resolve(told));
        const hold = { v: 1, type: "hold", rotation, refs: ["local:key"], forMs: 45_000 };
        socket.write(`${JSON.stringify(hold)}\n`);
      });

    const answers: string[] = [];
    for (let count = 0; count < 20; count++) answers.push(await say(`20270115-080000-x${count}`));

    expect(answers[0]).toContain("Cannot fetch the candidate");
    expect(answers.every((answer) => JSON.parse(answer).ok === false)).toBe(true);
    expect(await client.callTool({ name: "works" })).toMatchObject({ isError: false });
    expect(events("hold")).toEqual([]);
  });
});

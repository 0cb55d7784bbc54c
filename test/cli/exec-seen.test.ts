/** A program under `exec` as others see it: `status`, and a rotation that can't give it another key. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { ask } from "../../src/control/client.ts";
import { fingerprintUnder } from "../../src/rotation/fingerprints.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { Installation, MAIN } from "../helpers/installation.ts";
import { killAll, until } from "../helpers/processes.ts";

const OLD = "canary-exec-old";
const NEW = "canary-exec-new";
/** Lives until its stdin ends. */
const PROGRAM = "process.stdin.resume()";

let mcpRun: Installation;
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  const hook = mcpRun.write(
    "hook.mjs",
    `let text = ""; for await (const chunk of process.stdin) text += chunk;
     const { action } = JSON.parse(text);
     const answers = { find: {}, mint: { value: "${NEW}", keyId: "key-2" }, revoke: { revoked: true }, verify: { accepted: false } };
     process.stdout.write(JSON.stringify(answers[action]));`,
  );
  const server = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
  mcpRun.profile(
    "p",
    `command: node\nargs: [${server}]\nsecrets: { KEY: { from: "local:key", rotate: { hook: [node, ${hook}] } } }\n`,
  );
  mcpRun.set("local:key", OLD);
});

afterEach(() => {
  killAll(pids);
  pids.clear();
  mcpRun.remove();
});

function sockets(): readonly string[] {
  const folder = join(mcpRun.home, "state/run");
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".sock")) : [];
}

/** A program that others can see. */
async function executing(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, "exec", "p", "--", process.execPath, "-e", PROGRAM], {
    env: mcpRun.env,
    stdio: ["pipe", "ignore", "pipe"],
  });
  pids.add(child.pid ?? 0);
  await until("others can see it", () => sockets().length > 0);
  return child;
}

async function ended(child: ChildProcess): Promise<unknown> {
  const exit = once(child, "exit");
  child.stdin?.end();
  const [code] = await exit;
  return code;
}

describe.skipIf(process.platform === "win32")("a program under exec", () => {
  it("is shown by status for as long as it runs", async () => {
    const child = await executing();

    const { supervisors } = JSON.parse(mcpRun.run(["status", "--json"]).stdout);
    const { stdout } = mcpRun.run(["status"]);

    expect(supervisors).toEqual([
      expect.objectContaining({
        pid: child.pid,
        profile: "p",
        state: "running",
        generation: 1,
        restarts: 0,
        secrets: [expect.objectContaining({ name: "KEY", ref: "local:key" })],
        refresh: { mode: "exec", isLooking: false },
      }),
    ]);
    expect(supervisors[0]).not.toHaveProperty("era");
    expect(stdout).toMatch(new RegExp(`^p +${child.pid} +running +1 +\\d+s +0 +- +KEY `, "m"));
    expect(await ended(child)).toBe(0);
    expect(sockets()).toEqual([]);
  });

  it("proves what it has, and does nothing when it is asked to look", async () => {
    const child = await executing();
    const pid = child.pid ?? 0;
    const endpoint = { pid, path: join(mcpRun.home, "state/run", `${pid}.sock`) };
    const options = { timeoutMs: 30_000, clock: systemClock, signal: new AbortController().signal };
    const refs = ["local:key"];
    mcpRun.set("local:key", NEW);

    const looked = await ask(endpoint, { type: "refresh", refs }, options);
    const key = Buffer.alloc(32, 7).toString("base64url");
    const proved = await ask(endpoint, { type: "acknowledge", refs, key }, options);

    expect(looked).toMatchObject({ answer: { accepted: true, generation: 1 } });
    const fingerprint = fingerprintUnder(key, new Secret(OLD));
    expect(proved).toMatchObject({ answer: { secrets: [{ ref: "local:key", fingerprint }] } });
  });

  it("has no socket if it is over at once", () => {
    const hasSocket = () => existsSync(join(mcpRun.home, "state/run"));
    // On a busy machine it may last longer than the quarter of a second after which it has one.
    for (let tries = 0; tries < 20; tries++) {
      rmSync(join(mcpRun.home, "state/run"), { recursive: true, force: true });
      expect(mcpRun.run(["exec", "p", "--", "true"]).status).toBe(0);
      if (!hasSocket()) break;
    }

    expect(hasSocket()).toBe(false);
  });

  it("runs where there can be no socket, which a line says", async () => {
    mcpRun.write("state/run", "in the way");
    const child = spawn(process.execPath, [MAIN, "exec", "p", "--", process.execPath, "-e", PROGRAM], {
      env: mcpRun.env,
      stdio: ["pipe", "ignore", "pipe"],
    });
    pids.add(child.pid ?? 0);
    let log = "";
    child.stderr.on("data", (chunk) => {
      log += chunk;
    });

    await until("it is said", () => log.includes("mcp-run status will not show this program: "));

    expect(await ended(child)).toBe(0);
  });

  it("holds up the end of a leaked key that it has, until it is over", async () => {
    const child = await executing();
    const args = ["rotate", "p", "--reason", "leaked", "--yes"];

    const ran = mcpRun.run(args);

    expect(ran, ran.stderr).toMatchObject({ status: 75 });
    expect(ran.stdout).toContain(`p (pid ${child.pid}) can't change its server while it runs`);
    expect(ran.stdout).toContain("1 cannot-swap");
    expect(ran.stdout).toContain("OLD KEY STILL VALID: KEY of local:key");
    await ended(child);
    const id = /\d{8}-\d{6}-\w{6}/.exec(ran.stdout)?.[0] ?? "";
    expect(mcpRun.run(["rotate", "p", "--resume", id, "--yes"])).toMatchObject({ status: 0 });
  });
});

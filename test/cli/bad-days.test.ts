/** Leases, the cache and the breaker through the built program, against a Vault on loopback. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeVault } from "../helpers/fake-vault.ts";
import { Installation, MAIN } from "../helpers/installation.ts";
import { killAll, until } from "../helpers/processes.ts";
import { ANY_SERVER } from "../helpers/serving.ts";

const TOKEN = "canary-root";
const SHOW = ["--", process.execPath, "-e", "process.stdout.write(process.env.SHOWN ?? 'nothing')"];

let mcpRun: Installation;
let vault: FakeVault;
const pids = new Set<number>();

beforeEach(async () => {
  mcpRun = new Installation();
  vault = await FakeVault.start();
});

afterEach(async () => {
  killAll(pids);
  pids.clear();
  await vault.stop();
  mcpRun.remove();
});

/** The profile `p`, whose server does what any.mjs is told. */
function profile(secrets: string, more = "", actions: readonly string[] = ["answer", "stay"]): void {
  const args = JSON.stringify([ANY_SERVER, ...actions]);
  const entry = `vault: { type: vault, address: "${vault.url}", auth: { method: token, token: "env:VT" } }`;
  mcpRun.profile("p", `providers:\n  ${entry}\ncommand: node\nargs: ${args}\nsecrets: ${secrets}\n${more}\n`);
}

interface Run {
  readonly process: ChildProcessWithoutNullStreams;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<number | null>;
}

/** Not spawnSync: the Vault answers from this process. */
function launch(args: readonly string[], env: Record<string, string> = { VT: TOKEN }): Run {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...mcpRun.env, ...env },
    cwd: mcpRun.home,
  });
  pids.add(child.pid as number);
  const [out, err] = [child.stdout, child.stderr].map((stream) => {
    let text = "";
    stream.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    return () => text;
  }) as [() => string, () => string];
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { process: child, out, err, ended };
}

async function run(
  args: readonly string[],
  env?: Record<string, string>,
): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  const { process: child, ended, out, err } = launch(args, env);
  child.stdin.end();
  return { status: await ended, stdout: out(), stderr: err() };
}

describe("a lease", () => {
  const CREDENTIALS =
    "{ PGPASSWORD: vault:database/creds/app#password, SHOWN: vault:database/creds/app#username }";

  it("lives while the program of exec runs, and is revoked when it has ended", async () => {
    profile(CREDENTIALS);
    const wait = "process.stdin.resume().on('end', () => process.exit(3)); process.stdout.write('up')";
    const { process: child, out, ended, err } = launch(["exec", "p", "--", process.execPath, "-e", wait]);
    await until("the program is up", () => out() === "up");
    expect(vault.leases.size).toBe(1);

    child.stdin.end();

    expect(await ended).toBe(3);
    expect(vault.leases.size).toBe(0);
    expect(vault.asked("sys/leases/revoke")).toHaveLength(1);
    expect(err()).not.toContain("canary");
  });

  it.each<[string, readonly string[], number]>([
    ["run", ["p"], 143],
    ["exec", ["exec", "p", "--", process.execPath, ANY_SERVER, "hello", "stay"], 143],
  ])("is revoked although more signals come meanwhile: %s", async (_what, args, status) => {
    profile(CREDENTIALS, "", ["hello", "stay"]);
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    vault.delay = async ({ path }) => (path.startsWith("sys/leases/revoke") ? released : undefined);
    const { process: child, out, ended, err } = launch(args);
    await until("the program is up", () => out().includes('"up"'));
    child.kill("SIGTERM");
    await until("it gives the lease back", () => vault.asked("sys/leases/revoke").length > 0);

    child.kill("SIGINT");
    child.kill("SIGTERM");
    release();

    expect(await ended, err()).toBe(status);
    expect(vault.leases.size).toBe(0);
    expect(mcpRun.run(["audit"]).stdout).toContain("exit code 143");
  });

  it.each<[string, readonly string[], (child: ChildProcessWithoutNullStreams, server: number) => void]>([
    ["ended by its client", ["hello", "stay"], (child) => child.stdin.end()],
    ["stopped by a signal", ["hello", "stay"], (child) => child.kill("SIGTERM")],
    [
      "killed by two signals",
      ["hello", "ignore:SIGTERM", "stay:forever"],
      (child) => {
        child.kill("SIGTERM");
        child.kill("SIGTERM");
      },
    ],
    ["dead by itself", ["hello", "stay"], (_child, server) => process.kill(server, "SIGKILL")],
  ])("is revoked when the server is %s", async (_how, actions, end) => {
    profile(CREDENTIALS, "", actions);
    const { process: child, out, ended } = launch(["p"]);
    await until("the server is up", () => out().includes('"up"'));
    expect(vault.leases.size).toBe(1);

    end(child, JSON.parse(out()).params.pid);

    await ended;
    expect(vault.leases.size).toBe(0);
  });

  it("is revoked when the server can't be started", async () => {
    profile(CREDENTIALS);

    const { status, stderr } = await run(["exec", "p", "--", "no-such-program-of-ours"]);

    expect(status).toBe(127);
    expect(vault.asked("database/creds")).toHaveLength(1);
    expect(vault.leases.size).toBe(0);
    expect(stderr).not.toContain("Warning");
  });

  it("is revoked when another secret of the set can't be had", async () => {
    profile("{ PGPASSWORD: vault:database/creds/app#password, OTHER: vault:secret/absent#x }");

    const { status, stderr } = await run(["exec", "p", ...SHOW]);

    expect(status).toBe(78);
    expect(stderr).toContain("OTHER");
    expect(vault.asked("database/creds")).toHaveLength(1);
    expect(vault.leases.size).toBe(0);
  });

  it("is revoked at once by check", async () => {
    profile(CREDENTIALS);

    const { status } = await run(["check", "p"]);

    expect(status).toBe(0);
    expect(vault.asked("database/creds")).toHaveLength(1);
    expect(vault.leases.size).toBe(0);
  });

  it("is renewed while the server runs", async () => {
    vault.lease.seconds = 6; // A third of it may pass between a renewal and its answer, which is much for any machine.
    profile(CREDENTIALS, "", ["hello", "stay"]);
    const { process: child, out, ended, err } = launch(["p"]);
    await until("the server is up", () => out().includes('"up"'));

    await until("the lease was renewed", () => vault.asked("sys/leases/renew").length > 1);
    child.stdin.end();

    expect(await ended).toBe(0);
    expect(vault.leases.size).toBe(0);
    expect(err()).not.toContain("Warning");
  });

  it("is revoked also by the start that a check tries out", async () => {
    profile(CREDENTIALS, "", ["exit:3"]);

    const { status, stdout } = await run(["check", "--start", "p"]);

    expect(stdout).toContain("the server ended with exit code 3");
    expect(status).not.toBe(0);
    expect(vault.asked("database/creds")).toHaveLength(2);
    expect(vault.leases.size).toBe(0);
  });

  it("that can't be revoked is a warning with its secrets, and the exit code stays", async () => {
    profile(CREDENTIALS);
    vault.before = ({ path }) =>
      path === "sys/leases/revoke" ? { status: 403, body: { errors: ["permission denied"] } } : undefined;

    const { status, stderr } = await run(["exec", "p", ...SHOW]);

    expect(status).toBe(0);
    expect(stderr).toMatch(
      /Warning: the lease of PGPASSWORD, SHOWN from vault:database\/creds\/app could not be revoked: .*403/,
    );
    expect(stderr).not.toContain("canary");
  });
});

describe("a Vault that is down", () => {
  const SECRETS = "{ SHOWN: vault:kv1/app#shown }";
  const cacheFolder = () => join(mcpRun.home, "cache/secrets");

  /** Starts until the cache has it: the end of a program waits 2 s for that, which may be too short for a busy disk. */
  async function keep(): Promise<void> {
    for (let tries = 0; tries < 20; tries++) {
      expect(await run(["exec", "p", ...SHOW])).toMatchObject({ status: 0, stdout: "[mcp-run:SHOWN]" });
      if (existsSync(cacheFolder()) && readdirSync(cacheFolder()).some((name) => name.endsWith(".mark")))
        return;
    }
  }

  it("is stood in for by the cache, which says so, and goes when the profile wants none any more", async () => {
    vault.kv1.set("app", { shown: "canary-kept" });
    profile(SECRETS, "cache: { maxAge: 24h }");
    await keep();
    expect(readdirSync(cacheFolder())).toHaveLength(3);
    const { url } = vault;
    await vault.stop();

    const served = await run(["exec", "p", ...SHOW]);

    expect(served).toMatchObject({ status: 0, stdout: "[mcp-run:SHOWN]" });
    expect(served.stderr).toMatch(
      /^mcp-run: Warning: vault is out of reach \(.*\), so the cache gives vault:kv1\/app, fetched \d+ s ago/,
    );
    expect(served.stderr).toContain("with SHOWN (vault:kv1/app#shown, cached)");
    expect(mcpRun.filesWith("canary-kept")).toEqual([]);
    expect(await run(["check", "p"])).toMatchObject({ status: 69 });

    vault = await FakeVault.start();
    vault.kv1.set("app", { shown: "canary-kept" });
    expect(vault.url).not.toBe(url);
    profile(SECRETS);
    expect((await run(["exec", "p", ...SHOW])).status).toBe(0);
    // The file is named after the profile's file and not its settings, so it is this profile's old one.
    expect(readdirSync(cacheFolder())).toEqual(["key-made.age"]);
  });

  it("is not stood in for where it says no", async () => {
    vault.kv1.set("app", { shown: "canary-kept" });
    profile(SECRETS, "cache: { maxAge: 24h }");
    await keep();
    vault.tokens.clear();

    const { status, stderr, stdout } = await run(["exec", "p", ...SHOW]);

    expect(status).toBe(77);
    expect(stdout).toBe("");
    expect(stderr).toContain("403");
  });
});

describe("a Vault that refuses us", () => {
  it("is left alone after three starts, until a person asks or there is another token", async () => {
    vault.kv1.set("app", { shown: "canary-shown" });
    profile("{ SHOWN: vault:kv1/app#shown }");
    vault.tokens.clear();
    const start = async (env?: Record<string, string>) => {
      const before = vault.requests.length;
      const { status, stderr } = await run(["exec", "p", ...SHOW], env);
      return { status, stderr, asked: vault.requests.length > before };
    };
    for (let times = 0; times < 3; times++) expect(await start()).toMatchObject({ status: 77, asked: true });
    // The next starts may take longer than the 15 s for which it is left alone.
    for (const file of mcpRun.filesWith('"nextTryAt":')) {
      const remembered = JSON.parse(readFileSync(file, "utf8"));
      expect(remembered.nextTryAt).toBeLessThanOrEqual(Date.now() + 15_000);
      writeFileSync(file, JSON.stringify({ ...remembered, nextTryAt: remembered.nextTryAt + 300_000 }));
    }

    const refused = await start();
    expect(refused).toMatchObject({ status: 77, asked: false });
    expect(refused.stderr).toMatch(
      /it has failed 3 times in a row and is left alone until \d\d:\d\d:\d\d UTC \(\d+ s\)\. Try .*mcp-run check/,
    );
    expect(await start({ VT: "canary-other-token" })).toMatchObject({ status: 77, asked: true });

    vault.tokens.set(TOKEN, { ttl: 0, renewable: false, denied: [] });
    expect(await start()).toMatchObject({ status: 77, asked: false });
    expect(await run(["check", "p"])).toMatchObject({ status: 0, stderr: "" });
    expect(await start()).toMatchObject({ status: 0, asked: true });

    const state = join(mcpRun.home, "state");
    for (const name of readdirSync(state, { recursive: true, encoding: "utf8" })) {
      if (name.endsWith(".json")) expect(readFileSync(join(state, name), "utf8")).not.toContain("canary");
    }
    expect(mcpRun.filesWith(TOKEN)).toEqual([]);
  });
});

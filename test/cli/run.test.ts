/** `mcp-run PROFILE` as its clients see it: the official SDK clients on one side, real servers on the other. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { Client as ModernClient } from "@modelcontextprotocol/client";
import { StdioClientTransport as ModernTransport } from "@modelcontextprotocol/client/stdio";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN, ROOT } from "../helpers/installation.ts";
import { firstLine, isAlive, killAll, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

const EVERYTHING = join(ROOT, "node_modules/@modelcontextprotocol/server-everything/dist/index.js");
const CONTEXT7 = join(ROOT, "node_modules/@upstash/context7-mcp/dist/index.js");

let mcpRun: Installation;
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(async () => {
  // A client that was refused turns away at once; its mcp-run still writes its code cache on the way out.
  const leaving = [...pids];
  await until("every mcp-run has ended", () => !leaving.some(isAlive)).catch(() => killAll(leaving));
  pids.clear();
  mcpRun.remove();
});

function everything(rest = ""): void {
  mcpRun.profile(
    "p",
    `command: node\nargs: [${JSON.stringify(EVERYTHING)}]\nsecrets: { DEMO_TOKEN: local:demo }\n${rest}`,
  );
  mcpRun.set("local:demo", "canary-demo-value");
}

/** What a client's config would hold, and what comes out on its log. */
function connection(args: readonly string[] = ["p"], env: Record<string, string> = {}) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, ...args],
    env: { ...mcpRun.env, ...env },
    stderr: "pipe",
  });
  remember(transport);
  let log = "";
  transport.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  return { transport, client: new Client({ name: "test", version: "1.0.0" }), log: () => log };
}

function modernTransport(): ModernTransport {
  const transport = new ModernTransport({
    command: process.execPath,
    args: [MAIN, "p"],
    env: mcpRun.env,
    stderr: "ignore",
  });
  remember(transport);
  return transport;
}

/** Notes the pid when the client starts its mcp-run; a client that fails forgets it. */
function remember(transport: { readonly pid: number | null; start(): Promise<void> }): void {
  const start = transport.start.bind(transport);
  transport.start = async () => {
    await start();
    if (transport.pid !== null) pids.add(transport.pid);
  };
}

function launch(args: readonly string[]): ChildProcessWithoutNullStreams {
  const launcher = spawn(process.execPath, [MAIN, ...args], { env: mcpRun.env, cwd: mcpRun.home });
  if (launcher.pid) pids.add(launcher.pid);
  launcher.stderr.resume();
  return launcher;
}

function exited(
  launcher: ChildProcessWithoutNullStreams,
): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => launcher.once("exit", (code, signal) => resolve({ code, signal })));
}

describe("mcp-run PROFILE", () => {
  it("carries a session of the SDK client, and says in one line what it started with", async () => {
    everything();
    const { client, transport, log } = connection();
    await client.connect(transport);

    const { tools } = await client.listTools();
    const echoed = await client.callTool({ name: "echo", arguments: { message: "größe ".repeat(500_000) } });
    await client.close();

    expect(tools.length).toBeGreaterThan(5);
    expect(JSON.stringify(echoed)).toContain("größe größe");
    expect(log()).toMatch(/^mcp-run: p: generation 1 started in \d+ ms with DEMO_TOKEN \(local:demo\)$/m);
    expect(log()).not.toContain("canary-");
  });

  it("gives the server its secret and nothing of what mcp-run itself was given", async () => {
    everything();
    const { client, transport } = connection(["p"], {
      AWS_SECRET_ACCESS_KEY: "canary-aws",
      VAULT_TOKEN: "canary-vault",
    });
    await client.connect(transport);

    const answer = await client.callTool({ name: "get-env", arguments: {} });
    await client.close();

    const [{ text }] = answer.content as [{ text: string }];
    const env = JSON.parse(text) as Record<string, string>;
    expect(env.DEMO_TOKEN).toBe("canary-demo-value");
    expect(Object.keys(env).filter((name) => /^(MCP_RUN|AWS|VAULT)_/.test(name))).toEqual([]);
  });

  it("names what the client's config sets and the server does not get", async () => {
    everything();
    const { client, transport, log } = connection(["p"], { LOG_FILTER: "x" });
    await client.connect(transport);
    await client.close();

    expect(log()).toMatch(/Warning: the client sets LOG_FILTER for mcp-run, and the server does not get it/);
  });

  it("carries the newer protocol of a server that speaks both", async () => {
    mcpRun.profile(
      "p",
      `command: node\nargs: [${JSON.stringify(CONTEXT7)}]\nsecrets: { CONTEXT7_API_KEY: local:key }\n`,
    );
    mcpRun.set("local:key", "canary-context7");
    const transport = modernTransport();
    const client = new ModernClient(
      { name: "test", version: "1.0.0" },
      { versionNegotiation: { mode: "auto" } },
    );
    await client.connect(transport);

    const { tools } = await client.listTools();
    await client.close();

    expect(tools.length).toBeGreaterThan(0);
  });

  it("runs another server in the profile's place after --", async () => {
    everything();
    const { client, transport } = connection(["p", "--", process.execPath, CONTEXT7]);
    await client.connect(transport);

    const name = client.getServerVersion()?.name;
    await client.close();

    expect(name).toMatch(/context7/i);
  });

  it("ends with the server's exit code when the server ends by itself", async () => {
    everything();
    const launcher = launch(["p", "--", process.execPath, "-e", "process.exit(7)"]);

    expect(await exited(launcher)).toEqual({ code: 7, signal: null });
  });
});

describe("a start that fails", () => {
  it("is told to the client as the reason, not only as a disconnect", async () => {
    mcpRun.profile("p", "command: node\nsecrets: { T: local:gone }\n");
    const { client, transport, log } = connection();

    await expect(client.connect(transport)).rejects.toThrow("Cannot read secret T from local:gone");

    await until("the log has it too", () => log().includes("Cannot read secret T from local:gone"));
  });

  it("is told to a client of the newer protocol as well", async () => {
    mcpRun.profile("p", "command: no-such-server\nsecrets: { T: local:t }\n");
    mcpRun.set("local:t", "canary-t");
    const transport = modernTransport();
    const client = new ModernClient({ name: "test", version: "1.0.0" });

    await expect(client.connect(transport)).rejects.toThrow("no-such-server");
  });

  it("is told when the server ends before its first answer", async () => {
    everything();
    const { client, transport } = connection([
      "p",
      "--",
      process.execPath,
      "-e",
      "setTimeout(() => process.exit(3), 300)",
    ]);

    await expect(client.connect(transport)).rejects.toThrow(
      "the server ended with exit code 3 before it answered",
    );
  });

  it("is told also when the server was gone before the client's first request", async () => {
    everything();
    const note = join(mcpRun.home, "server");
    const server = `fs.writeFileSync(${JSON.stringify(note)}, String(process.pid)); process.exit(3)`;
    const launcher = launch(["p", "--", process.execPath, "-e", server]);
    const answer = firstLine(launcher.stdout);
    const end = exited(launcher);
    const pid = () => (mcpRun.has("server") ? Number(mcpRun.read("server")) : 0);
    await until("the server has come", () => pid() > 0);
    // mcp-run waits 2 s from then on: no program is started to see it.
    await until("the server has gone", () => !isKnown(pid()));

    launcher.stdin.write('{"jsonrpc":"2.0","id":7,"method":"initialize","params":{}}\n');

    expect(JSON.parse(await answer)).toMatchObject({
      id: 7,
      error: { code: -32603, message: expect.stringContaining("exit code 3") },
    });
    expect(await end).toEqual({ code: 3, signal: null });
  });

  it("keeps its exit code and its record when a signal comes while the client is waited for", async () => {
    mcpRun.profile("broken", "comand: node\n");
    const launcher = launch(["broken"]);
    const end = exited(launcher);
    const log = collected(launcher.stderr);
    await until("it has failed", () => log().includes("comand"));

    launcher.kill("SIGTERM");

    expect(await end).toEqual({ code: 78, signal: null });
    expect(mcpRun.filesWith("start-failed")).toHaveLength(1);
  });

  it("does not make a person at the shell wait: an empty stdin ends it at once", () => {
    mcpRun.profile("p", "command: node\nsecrets: { T: local:gone }\n");

    const ran = mcpRun.run(["p"]);

    expect(ran).toMatchObject({ status: 78, stdout: "" });
  });
});

describe("the end", () => {
  /** A server that ignores everything it can, behind a shell and in a session of its own, and reports its pid. */
  const STUBBORN = `
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => {});
    setInterval(() => {}, 1000);
    console.log(JSON.stringify({ jsonrpc: "2.0", method: "pid", params: process.pid }));`;

  async function stubborn(): Promise<{ launcher: ChildProcessWithoutNullStreams; pid: number }> {
    everything("stopGrace: 300ms\n");
    mcpRun.write("stubborn.mjs", STUBBORN);
    const nested = `setsid ${process.execPath} ${join(mcpRun.home, "stubborn.mjs")} & wait`;
    const launcher = launch(["p", "--", "/bin/sh", "-c", nested]);
    const pid = (JSON.parse(await firstLine(launcher.stdout)) as { params: number }).params;
    pids.add(pid);
    return { launcher, pid };
  }

  it.runIf(process.platform === "linux")(
    "by SIGKILL leaves nothing running, whatever the server ignores",
    async () => {
      const { launcher, pid } = await stubborn();

      launcher.kill("SIGKILL");

      await until("the server is gone", () => !isAlive(pid));
    },
  );

  it.runIf(process.platform === "linux")(
    "by SIGTERM leaves nothing running either, and is 128 + the signal",
    async () => {
      const { launcher, pid } = await stubborn();
      const end = exited(launcher);

      launcher.kill("SIGTERM");

      expect([137, 143]).toContain((await end).code);
      expect(isAlive(pid)).toBe(false);
    },
  );

  it("by a signal while secrets are fetched is 130, and the server is never started", async () => {
    const mark = join(mcpRun.home, "started");
    mcpRun.profile(
      "p",
      `command: node\nargs: ["-e", "require('fs').writeFileSync(${JSON.stringify(mark).slice(1, -1)}, '')"]\n` +
        `secrets: { T: { command: ["node", "-e", "console.error('fetching'); setInterval(() => {}, 1000)"] } }\n`,
    );
    const launcher = launch(["--log-level", "debug", "p"]);
    const end = exited(launcher);
    await until("it fetches", () => mcpRunFetches(launcher.pid as number));

    launcher.kill("SIGINT");

    expect(await end).toEqual({ code: 130, signal: null });
    expect(mcpRun.has("started")).toBe(false);
  });
});

/** False once a process has ended and whoever started it has heard of that. */
function isKnown(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** True once the launcher has a child, which is then the program that fetches. */
function mcpRunFetches(pid: number): boolean {
  const { stdout } = spawnSync("ps", ["-A", "-o", "ppid=,args="], { encoding: "utf8" });
  return stdout.split("\n").some((line) => line.trim().startsWith(`${pid} `) && line.includes("fetching"));
}

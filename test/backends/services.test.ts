/** mcp-run under somebody else's supervisor: what it says to systemd, and the examples under their own validators. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { backendPath, describeBackend } from "../helpers/backends.ts";
import { Installation, MAIN, ROOT } from "../helpers/installation.ts";
import { BOUNDED, isAlive, killAll, until } from "../helpers/processes.ts";
import { ProgramTransport } from "../helpers/program-transport.ts";
import { type NotifySocket, notifySocket } from "../services/notify-socket.ts";
import { SocketTransport } from "../services/socket-transport.ts";

const EXAMPLES = join(ROOT, "docs/services");
const SERVER = join(ROOT, "test/helpers/servers/keyed.mjs");

let mcpRun: Installation;
let secretFile: string;
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  secretFile = mcpRun.write("secrets/key", "canary-one");
});

afterEach(() => {
  killAll(pids);
  pids.clear();
  mcpRun.remove();
});

function profile(keys = ""): void {
  mcpRun.profile(
    "p",
    `command: node\nargs: [${JSON.stringify(SERVER)}]\nsecrets: { KEY: "file:${secretFile}" }\n${keys}`,
  );
}

async function keyOf(client: Client): Promise<{ pid: number; key: string }> {
  const { content } = (await client.callTool({ name: "key" })) as { content: { text: string }[] };
  return JSON.parse(content[0]?.text ?? "");
}

describeBackend("what systemd is told", ["systemd-notify", "python3"], () => {
  let socket: NotifySocket;
  let log = "";

  beforeEach(async () => {
    log = "";
    socket = await notifySocket(join(mcpRun.home, "notify"));
  });
  afterEach(() => socket.close());

  /** mcp-run has ended; what it said last comes from another process, in its own time. */
  async function hasEnded(pid: number): Promise<void> {
    await until("mcp-run has ended", () => !isAlive(pid));
    // Where the end takes its time, the watchdog is told more.
    const words = () => socket.messages().filter((message) => message !== "WATCHDOG=1");
    await until("its last word has come", () => words().at(-1)?.startsWith("STOPPING=1") === true);
  }

  /** A session of mcp-run as a service would have it. */
  async function session(env: Record<string, string> = {}) {
    const transport = new ProgramTransport({
      command: process.execPath,
      args: [MAIN, "p"],
      env: { ...mcpRun.env, NOTIFY_SOCKET: socket.path, ...env },
    });
    transport.stderr.on("data", (chunk) => {
      log += chunk;
    });
    const client = new Client({ name: "test", version: "1" });
    await client.connect(transport);
    const { pid } = transport;
    pids.add(pid);
    return { client, pid };
  }

  it("is that the first server runs, which one serves after a change, and that it stops", async () => {
    profile();
    const { client, pid } = await session();
    const first = await keyOf(client);
    await until("it is ready", () => socket.messages().length === 1);
    writeFileSync(secretFile, "canary-two");
    process.kill(pid, "SIGUSR2");
    await until("another server is told of", () => socket.messages().length === 2);
    const second = await keyOf(client);
    await client.close();
    await hasEnded(pid);

    expect(socket.messages()).toEqual([
      `READY=1 | STATUS=generation 1 of p started, server ${first.pid}`,
      `STATUS=generation 2 of p started, server ${second.pid}`,
      "STOPPING=1 | STATUS=stopping p",
    ]);
    expect(second.key).toBe("canary-two");
  });

  it("is nothing where nobody asks, and then nothing of it is loaded", async () => {
    profile();
    const chunks = () => readdirSync(join(mcpRun.home, "cache"), { recursive: true, encoding: "utf8" });
    const isLoaded = () => chunks().some((file) => /\/systemd-[^/]+$/.test(file));
    for (const NOTIFY_SOCKET of ["", socket.path]) {
      const { client, pid } = await session({ NOTIFY_SOCKET });
      await client.close();
      await until("mcp-run has ended", () => !isAlive(pid));
      expect(chunks().some((file) => /\/start-[^/]+$/.test(file))).toBe(true);
      expect(isLoaded()).toBe(NOTIFY_SOCKET !== "");
    }
    await until("its last word has come", () => socket.messages().length === 2);
  });

  it("is that the watchdog need not bite, at half its time and as long as somebody serves", async () => {
    profile();
    const { client, pid } = await session({ WATCHDOG_USEC: "400000" });
    const pings = () => socket.messages().filter((message) => message === "WATCHDOG=1").length;
    await until("there are some", () => pings() > 2);
    await client.close();
    await hasEnded(pid);

    expect(socket.messages()[0]).toMatch(/^READY=1/);
  });

  it("is nothing of a watchdog that waits for another process", async () => {
    profile();
    const { client, pid } = await session({ WATCHDOG_USEC: "200000", WATCHDOG_PID: "1" });
    await client.close();
    await hasEnded(pid);

    expect(socket.messages().map((message) => message.split(" | ")[0])).toEqual(["READY=1", "STOPPING=1"]);
  });

  it("is for a program of `exec` to say, which inherits the way to do it", async () => {
    profile();
    const script = "systemd-notify READY=1 STATUS=listening";
    const ran = mcpRun.run(["exec", "p", "--", "sh", "-c", script], { env: { NOTIFY_SOCKET: socket.path } });

    expect(ran.status, ran.stderr).toBe(0);
    await until("its word has come", () => socket.messages().length > 0);
    expect(socket.messages()).toEqual(["READY=1 | STATUS=listening"]);
  });

  it("is not lost without a word when nobody listens, and the session goes on", async () => {
    profile();
    socket.close();
    const path = join(mcpRun.home, "nobody");
    const { client, pid } = await session({ NOTIFY_SOCKET: path, WATCHDOG_USEC: "200000" });
    await until("it is said", () => log.includes("systemd is not told"));
    const { key } = await keyOf(client);
    await client.close();
    await until("mcp-run has ended", () => !isAlive(pid));

    expect(key).toBe("canary-one");
    expect(log.match(/systemd is not told/g)).toHaveLength(1);
    expect(log).toMatch(/systemd is not told how p does: systemd-notify: exit code 1: .*No such file/);
  });
});

describeBackend("a server behind a socket", ["systemd-socket-activate"], () => {
  let activator: ChildProcess | undefined;
  afterEach(() => void activator?.kill("SIGKILL"));

  it("has a session of its own for each connection, and ends with it", async () => {
    profile();
    const path = join(mcpRun.home, "s");
    const env = Object.entries(mcpRun.env).flatMap(([name, value]) => ["-E", `${name}=${value}`]);
    const args = ["--accept", "--inetd", "-l", path, ...env, process.execPath, MAIN, "p"];
    activator = spawn("systemd-socket-activate", args, { stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    activator.stderr?.on("data", (chunk) => {
      log += chunk;
    });
    // Its socket is there before somebody listens at it.
    await until("it listens", () => log.includes("Listening on"));
    const clients = await Promise.all(
      ["one", "other"].map(async (name) => {
        const client = new Client({ name, version: "1" });
        await client.connect(new SocketTransport(path));
        return client;
      }),
    );
    const told = await Promise.all(clients.map(keyOf));
    for (const { pid } of told) pids.add(pid);
    for (const client of clients) await client.close();
    await until("both have ended", () => (log.match(/died with code 0/g) ?? []).length === 2);

    expect(new Set(told.map(({ pid }) => pid)).size).toBe(2);
    expect(told.map(({ key }) => key)).toEqual(["canary-one", "canary-one"]);
    expect(told.some(({ pid }) => isAlive(pid))).toBe(false);
    expect(log).not.toContain("canary");
  });
});

describeBackend("the examples for systemd", ["systemd-analyze"], () => {
  const names = readdirSync(EXAMPLES).filter((name) => /\.(service|socket|timer)$/.test(name));
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "mcp-run-units-"));
    // It looks whether the programs are there.
    for (const name of names) {
      const text = readFileSync(join(EXAMPLES, name), "utf8");
      writeFileSync(join(folder, name), text.replaceAll("/usr/local/bin/mcp-run", process.execPath));
    }
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function analyze(...args: string[]) {
    const env = { PATH: process.env.PATH, SYSTEMD_UNIT_PATH: `${folder}:` };
    const ran = spawnSync("systemd-analyze", args, { encoding: "utf8", env, ...BOUNDED });
    return { status: ran.status, stderr: ran.stderr };
  }

  it.each(names)("are understood to the last word: %s", (name) => {
    const instance = name.replace("@.", "@github.");

    expect(analyze("verify", "--man=no", "--recursive-errors=no", join(folder, instance))).toEqual({
      status: 0,
      stderr: "",
    });
  });

  it("would not be with a misspelt word", () => {
    const file = join(folder, "mcp-github.socket");
    writeFileSync(file, readFileSync(file, "utf8").replace("MaxConnections", "MaxConections"));

    expect(analyze("verify", "--man=no", file).stderr).toMatch(/Unknown key (name )?'MaxConections'/);
  });

  it.each(names.filter((name) => name.endsWith(".service")))("leave little to attack: %s", (name) => {
    const file = join(folder, name);

    // In tenths; 100 is a service without any of it.
    expect(analyze("security", "--offline=yes", "--threshold=20", file).status).toBe(0);
  });
});

describeBackend("the examples for Kubernetes", ["k8s-decode"], () => {
  const decode = (...files: string[]) =>
    spawnSync(backendPath("k8s-decode"), files, { encoding: "utf8", ...BOUNDED });

  it("are what the API's own types are", () => {
    const files = ["kubernetes-vault.yaml", "kubernetes-csi.yaml"].map((name) => join(EXAMPLES, name));

    const { status, stdout, stderr } = decode(...files);

    expect([status, stderr]).toEqual([0, ""]);
    const agent = ["v1 ServiceAccount decoded", "v1 ConfigMap decoded", "apps/v1 Deployment decoded"];
    const own = "secrets-store.csi.x-k8s.io/v1 SecretProviderClass unchecked";
    expect(stdout.trim().split("\n")).toEqual([...agent, own, ...agent]);
  });

  it("would not be with a misspelt field", () => {
    const text = readFileSync(join(EXAMPLES, "kubernetes-vault.yaml"), "utf8");
    const file = mcpRun.write("bad.yaml", text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"));

    const { status, stderr } = decode(file);

    expect(status).toBe(1);
    expect(stderr).toContain(
      'unknown field "spec.template.spec.containers[0].securityContext.readOnlyRootFileS',
    );
  });
});

describeBackend("the example for launchd", ["plistutil"], () => {
  const file = join(EXAMPLES, "com.example.mcp-run.rotate.plist");
  // Its exit code is 0 whatever happens.
  const toBinary = (input: Buffer) =>
    spawnSync("plistutil", ["-f", "bin", "-i", "-"], { input, ...BOUNDED }).stdout;

  it("is a property list", () => {
    const binary = toBinary(readFileSync(file));

    expect(binary.subarray(0, 8).toString()).toBe("bplist00");
    expect(binary.toString("latin1")).toContain("com.example.mcp-run.rotate");
  });

  it("would not be with an end that is missing", () => {
    const text = readFileSync(file, "utf8").replaceAll("</dict>", "");

    expect(toBinary(Buffer.from(text)).toString("latin1")).not.toContain("bplist00");
  });
});

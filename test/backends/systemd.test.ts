/** The example units under a real systemd, with all that they forbid. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ROOT } from "../helpers/installation.ts";
import { until } from "../helpers/processes.ts";
import { SocketTransport } from "../services/socket-transport.ts";
import { RUNTIME, SystemdInstance } from "../services/systemd-instance.ts";

const EXAMPLES = join(ROOT, "docs/services");
const MCP_RUN = "/run/test/node /run/test/root/dist/main.cjs";
const whyNot = SystemdInstance.whyNot();

it.skipIf(whyNot === undefined)("a systemd of our own can be had on this machine", (context) => {
  process.stderr.write(`Skipped the units under a real systemd: ${whyNot}\n`);
  context.skip(whyNot ?? "");
});

describe.skipIf(whyNot !== undefined)("under a real systemd", () => {
  let systemd: SystemdInstance;
  const open: Client[] = [];

  beforeEach(() => {
    systemd = new SystemdInstance();
    for (const name of readdirSync(EXAMPLES).filter((file) => /\.(service|socket|timer)$/.test(file))) {
      systemd.unit(name, readFileSync(join(EXAMPLES, name), "utf8"));
    }
    write("mcp-run.yaml", profiles);
    write("zero", "canary-zero");
    write("key", "canary-one");
  });

  afterEach(async () => {
    for (const client of open.splice(0)) await client.close();
    await systemd.stop();
  });

  const profiles = `
version: 1
profiles:
  github:
    command: /run/test/node
    args: [/run/test/root/test/helpers/servers/keyed.mjs]
    inheritEnv: all
    secrets:
      KEY: file:/run/test/files/key
      ZERO: { command: [sh, -c, "cat \\"$MCP_CREDS/vault-secret-id\\""] }
  api:
    command: node
    secrets: { API_KEY: "file:${RUNTIME}/credentials/mcp-api.service/api-key" }
`;

  function write(name: string, text: string): void {
    writeFileSync(join(systemd.folder, name), text, { mode: 0o600 });
  }

  /** What has another place in the test; all else is as in the example. Its user is root without a capability. */
  function place(service: string, command: string, more = ""): void {
    systemd.unit(
      `${service}.d/test.conf`,
      `[Service]
User=
ExecStart=
ExecStart=${MCP_RUN} ${command}
Environment=MCP_RUN_CONFIG=/run/test/files/mcp-run.yaml PATH=/usr/bin:/bin
StandardError=append:${systemd.folder}/err
LoadCredential=
LoadCredential=vault-secret-id:${systemd.folder}/zero
LoadCredential=api-key:${systemd.folder}/key
${more}
`,
    );
  }

  const log = () =>
    existsSync(join(systemd.folder, "err")) ? readFileSync(join(systemd.folder, "err"), "utf8") : "";

  /** A client at the socket, and the unit that serves it. */
  async function connected(more = "") {
    place("mcp-github@.service", "github", more);
    const path = join(systemd.folder, "socket");
    systemd.unit(
      "mcp-github.socket.d/test.conf",
      `[Socket]\nListenStream=\nListenStream=${path}\nSocketGroup=\n`,
    );
    await systemd.start();
    expect(systemd.systemctl("start", "mcp-github.socket")).toMatchObject({ status: 0, stderr: "" });
    const client = new Client({ name: "test", version: "1" });
    await client.connect(new SocketTransport(path));
    open.push(client);
    const [unit = ""] = systemd.units("mcp-github@*");
    await until(`${unit} is active: ${log()}`, () => systemd.show(unit, "ActiveState") === "active");
    return { client, unit };
  }

  async function keyOf(client: Client): Promise<string> {
    const { content } = (await client.callTool({ name: "key" })) as { content: { text: string }[] };
    return JSON.parse(content[0]?.text ?? "").key;
  }

  it("a connection gets a server, `systemctl reload` a new key into its session, and its end leaves nothing", async () => {
    const { client, unit } = await connected();
    const first = await keyOf(client);
    const told = systemd.show(unit, "StatusText");
    write("key", "canary-two");
    expect(systemd.systemctl("reload", unit)).toMatchObject({ status: 0, stderr: "" });
    await until("another server serves", () => systemd.show(unit, "StatusText").startsWith("generation 2"));
    const second = await keyOf(client);
    await client.close();
    await until("the unit is gone", () => systemd.units("mcp-github@*").length === 0);

    expect(told).toMatch(/^generation 1 of github started, server \d+$/);
    expect([first, second]).toEqual(["canary-one", "canary-two"]);
    expect(log()).toMatch(/^mcp-run: github: generation 1 started .* with KEY .*, ZERO/);
    expect(log()).not.toMatch(/canary|Warning: (?!.*tells the client)/);
  });

  it("a unit that is stopped has not failed", async () => {
    const { unit } = await connected("[Unit]\nCollectMode=inactive");

    expect(systemd.systemctl("stop", unit).status).toBe(0);

    expect(systemd.systemctl("is-failed", unit).stdout).not.toContain("failed");
  });

  it("the watchdog lets a session live, and ends one whose mcp-run hangs", async () => {
    const { client, unit } = await connected("WatchdogSec=20\n[Unit]\nCollectMode=inactive");
    const pinged = () => Number(systemd.show(unit, "WatchdogTimestampMonotonic"));
    const start = pinged();
    await until("it was told for longer than it waits", () => pinged() > start + 22_000_000, 120_000);
    const key = await keyOf(client);
    expect(systemd.systemctl("kill", "--kill-whom=main", "--signal=STOP", unit).status).toBe(0);
    await until("the watchdog has ended it", () => systemd.show(unit, "Result") === "watchdog", 120_000);

    expect(key).toBe("canary-one");
  });

  it("a program of `exec` gets its secret from a credential", async () => {
    write(
      "server.mjs",
      'process.stdout.write(process.env.API_KEY === "canary-one" ? "it has it" : "it has not");',
    );
    place(
      "mcp-api.service",
      "exec api -- /run/test/node /run/test/files/server.mjs",
      [`StandardOutput=append:${systemd.folder}/out`, "RemainAfterExit=yes"].join("\n"),
    );
    await systemd.start();

    const started = systemd.systemctl("start", "mcp-api.service");
    await until("it has ended", () => systemd.show("mcp-api.service", "SubState") !== "running");

    expect(started).toMatchObject({ status: 0, stderr: "" });
    expect(systemd.show("mcp-api.service", "Result"), log()).toBe("success");
    expect(readFileSync(join(systemd.folder, "out"), "utf8")).toBe("it has it");
  });

  it("what the nightly rotation starts looks at the ages, and leaves a young key as it is", async () => {
    const body = 'secrets: { OWN: { from: "local:own", rotate: { generate: { bytes: 32 } } } }';
    write("mcp-run.yaml", `version: 1\nprofiles:\n  github:\n    command: node\n    ${body}\n`);
    mkdirSync(join(systemd.folder, "state"), { mode: 0o700 });
    const state = `StandardOutput=append:${systemd.folder}/out\nEnvironment=MCP_RUN_HOME=/run/test/files/state\nReadWritePaths=/run/test/files/state`;
    place("mcp-rotate@.service", "rotate github --all --if-older-than 90d --yes --reason scheduled", state);
    systemd.unit(
      "store.service",
      `[Service]\nType=oneshot\nEnvironment=MCP_RUN_HOME=/run/test/files/state MCP_RUN_KEYCHAIN=off\nExecStart=/bin/sh -c 'echo canary-own | ${MCP_RUN} secrets set local:own'\n`,
    );
    await systemd.start();
    expect(systemd.systemctl("start", "store.service").status).toBe(0);

    const ran = systemd.systemctl("start", "mcp-rotate@github.service");

    expect(ran, log()).toMatchObject({ status: 0, stderr: "" });
    expect(readFileSync(join(systemd.folder, "out"), "utf8")).toBe("Nothing is older than 90d.\n");
    expect(systemd.systemctl("start", "mcp-rotate@github.timer").status).toBe(0);
    expect(systemd.show("mcp-rotate@github.timer", "NextElapseUSecRealtime")).not.toBe("");
  });
});

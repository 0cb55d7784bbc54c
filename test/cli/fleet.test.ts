/** What a fleet is to its user as long as no bus is there: nothing that holds anything up. */
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";

const SERVER = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
const SHOWS_ENV = "process.stdout.write(Object.keys(process.env).join())";

let mcpRun: Installation;
beforeEach(() => {
  mcpRun = new Installation();
});
afterEach(() => mcpRun.remove());

/** @param fleet lines of YAML */
function configure(fleet: string, more = "", args: readonly string[] = ["-e", SHOWS_ENV]): void {
  mcpRun.write(
    "config/mcp-run.yaml",
    `version: 1\n${fleet}\nprofiles:\n  p: { command: node, args: ${JSON.stringify(args)}${more} }\n`,
  );
}

/** An address where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("without a fleet", () => {
  it.each([
    [["fleet", "setup"], /Cannot reach a fleet: the profile file has no `fleet:`/, 78],
    [["fleet", "setup", "--replicas", "2"], /Cannot keep 2 copies: they would not outlive a server/, 64],
    [["fleet", "permissions"], /Cannot tell what a host needs: no profile is named/, 64],
    [["fleet", "permissions", "p", "--operator"], /beside --operator/, 64],
    [["fleet", "permissions", "p"], /Cannot tell which host is meant/, 78],
  ] as const)("%j says what is wanted", (args, words, status) => {
    configure("");

    const ran = mcpRun.run(args);

    expect(ran.stderr).toMatch(words);
    expect(ran.status).toBe(status);
  });

  it("the status says nothing of one", () => {
    configure("");

    expect(mcpRun.run(["status"]).stdout).toBe("Nothing is running.\n");
    expect(JSON.parse(mcpRun.run(["status", "--json"]).stdout)).not.toHaveProperty("fleet");
  });
});

describe("mcp-run fleet permissions", () => {
  it("tells of no secret that only this machine has, and of no value", () => {
    mcpRun.set("local:token", "canary-token");
    configure(
      "fleet: { servers: tls://nats.example, credentials: local:nats, host: web.1 }",
      ", secrets: { T: local:token }",
    );

    const { stdout, status } = mcpRun.run(["fleet", "permissions", "p"]);

    expect(status).toBe(0);
    expect(stdout).toContain('# the host web.1\n{\n  user: "mcp-run-web=2E1"\n');
    expect(stdout).toContain('"mcp-run.host.web=2E1.*"');
    expect(stdout).not.toMatch(/local:token|canary|DIRECT/);
  });

  it("needs no secret that only the host has, nor what is made of it", () => {
    configure(
      "fleet: { servers: tls://nats.example, credentials: local:nats }",
      ', secrets: { T: local:absent, URL: { template: "https://{{T}}@h" } }',
    );

    const ran = mcpRun.run(["fleet", "permissions", "p", "--host", "web-1"]);

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(ran.stdout).toContain("# the host web-1\n{\n");
  });

  it("tells what an operator needs, and asks nobody for it", () => {
    const { stdout, status } = mcpRun.run(["fleet", "permissions", "--operator"]);

    expect(status).toBe(0);
    expect(stdout).toContain('"$KV.mcp-run.*"');
    expect(stdout).toContain('"mcp-run.host.*.*"');
  });
});

describe("where the bus is down", () => {
  it("a server is started all the same, without the variable of the credentials", async () => {
    configure(
      `fleet: { servers: "nats://127.0.0.1:${await closedPort()}", credentials: "env:NATS_LOGIN" }`,
      ", inheritEnv: all",
    );

    const ran = mcpRun.run(["run", "p"], { env: { NATS_LOGIN: "canary-user:canary-password", OTHER: "1" } });
    const byExec = mcpRun.run(["exec", "p", "--", "node", "-e", SHOWS_ENV], {
      env: { NATS_LOGIN: "canary-user:canary-password", OTHER: "1" },
    });

    expect(ran.status, ran.stderr).toBe(0);
    expect(byExec.stdout.split(",")).toContain("OTHER");
    expect(byExec.stdout.split(",")).not.toContain("NATS_LOGIN");
    expect(ran.stdout + ran.stderr).not.toContain("canary-");
  });

  it("the status shows this machine, and says that the fleet can't be seen", async () => {
    mcpRun.set("local:nats", "canary-user:canary-password");
    configure(`fleet: { servers: "nats://127.0.0.1:${await closedPort()}", credentials: local:nats }`);

    const ran = mcpRun.run(["status"]);
    const local = mcpRun.run(["status", "--local"]);
    const json = JSON.parse(mcpRun.run(["status", "--json"]).stdout);

    expect(ran.status).toBe(0);
    expect(ran.stdout).toMatch(
      /^Nothing is running on this machine\.\n\nThe fleet can't be seen: .*ECONNREFUSED\n$/,
    );
    expect(local.stdout).toBe("Nothing is running.\n");
    expect(json.fleet).toEqual({ state: "unseen", reason: expect.stringContaining("ECONNREFUSED") });
  });

  it("the status says so where the credentials can't be had, or the file is wrong", () => {
    configure("fleet: { servers: tls://nats.example, credentials: local:none }");
    const missing = mcpRun.run(["status"]);
    configure("fleet: { servers: http://nats.example, credentials: local:none }");
    const wrong = mcpRun.run(["status"]);

    expect(missing.stdout).toMatch(/The fleet can't be seen: Cannot read local:none: /);
    expect(wrong.stdout).toMatch(/The fleet can't be seen: Cannot load .*: 1 error/);
    expect([missing.status, wrong.status]).toEqual([0, 0]);
  });

  it("the check says that it is down, also as JSON, and offline looks at its files alone", async () => {
    mcpRun.set("local:nats", "canary-user:canary-password");
    const bus = `servers: "nats://127.0.0.1:${await closedPort()}", credentials: local:nats`;
    configure(`fleet: { ${bus}, host: web-1 }`);
    const down = mcpRun.run(["check", "p"]);
    const json = JSON.parse(mcpRun.run(["check", "--json", "p"]).stdout).profiles[0];
    const offline = mcpRun.run(["check", "--offline", "p"]);
    mcpRun.write("config/none.pem", "no certificate");
    configure(`fleet: { ${bus}, ca: none.pem, inventory: hosts.txt }`);
    const files = mcpRun.run(["check", "--offline", "p"]);

    expect(down.stdout).toMatch(/✘ Cannot reach the fleet's bus: 127\.0\.0\.1:\d+: ECONNREFUSED\. Try /);
    expect(down.status).toBe(69);
    expect(json).toMatchObject({
      ok: false,
      fleet: { host: "web-1", ok: false },
      findings: [{ code: "backend-unavailable" }],
    });
    expect(offline.status, offline.stdout).toBe(0);
    expect(files.stdout).toMatch(/✘ Cannot read .*none\.pem: there is no certificate in it\. Try a PEM file/);
    expect(files.stdout).toMatch(/✘ Cannot read the inventory .*hosts\.txt: there is no such file/);
    expect(files.status).toBe(66);
    expect(down.stdout + files.stdout).not.toContain("canary-");
  });

  it("the check names the credentials that are not there; where an operator has his own, that is a warning", () => {
    configure("fleet: { servers: tls://nats.example, credentials: local:none }");
    const missing = mcpRun.run(["check", "p"]);
    configure("fleet: { servers: tls://nats.example, credentials: local:none, operator: local:ops }");
    const operator = mcpRun.run(["check", "p"]);

    expect(missing.stdout).toMatch(/✘ Cannot read local:none: /);
    expect(missing.status).toBe(78);
    expect(operator.stdout).toMatch(
      /! a server that runs here would not be heard in its fleet: Cannot read local:none/,
    );
    expect(operator.status).toBe(0);
  });

  it("what only this machine has is rotated all the same, and that is said", async () => {
    mcpRun.set("local:nats", "canary-user:canary-password");
    mcpRun.set("local:token", "canary-old");
    configure(
      `fleet: { servers: "nats://127.0.0.1:${await closedPort()}", credentials: local:nats, inventory: [db-9] }`,
      ", secrets: { T: { from: local:token, rotate: { generate: { bytes: 32 } } } }",
      [SERVER],
    );

    const { stdout } = mcpRun.run(["rotate", "p", "--reason", "drill", "--yes"]);

    expect(stdout).toContain("local:token: this machine only, no other one has it");
    expect(stdout).toMatch(/^✔ promote local:token/m);
    expect(stdout).toMatch(/^✔ spread/m);
    expect(stdout).not.toContain("db-9");
    expect(mcpRun.run(["secrets", "get", "local:token", "--reveal"]).stdout).not.toContain("canary-old");
  });

  it("the credentials of the bus themselves are not rotated by way of it", async () => {
    mcpRun.set("local:nats", "canary-user:canary-password");
    configure(
      `fleet: { servers: "nats://127.0.0.1:${await closedPort()}", credentials: local:nats }`,
      ", secrets: { T: { from: local:nats, rotate: { generate: { bytes: 32 } } } }",
    );

    const { stderr, status } = mcpRun.run(["rotate", "p", "--reason", "drill", "--dry-run"]);

    expect(status).toBe(64);
    expect(stderr).toContain("local:nats is what this rotation itself logs in with");
  });
});

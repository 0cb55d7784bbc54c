/** What a receiver gets of a program that runs under mcp-run, through the built mcp-run. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN, type Ran } from "../helpers/installation.ts";
import { LOUD, leaksIn } from "../helpers/loud-run.ts";
import { OtlpReceiver } from "../helpers/otlp-receiver.ts";
import { privateCa } from "../helpers/private-ca.ts";
import { until } from "../helpers/processes.ts";
import { ProgramTransport } from "../helpers/program-transport.ts";
import { collected } from "../helpers/serving.ts";

const KEYED_SERVER = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
const OTEL_KEY = "canary-otel-key";
const TOKEN = "canary-token";

let mcpRun: Installation;
let receiver: OtlpReceiver;

beforeEach(async () => {
  mcpRun = new Installation();
  receiver = await OtlpReceiver.start();
});

afterEach(async () => {
  await receiver.stop();
  mcpRun.remove();
});

const MOST_TRIES = 10;

/** The end of mcp-run waits a second for its receiver, and says so where that was too short: a machine may be busy. */
function wasTooLate(stderr: string): boolean {
  const isTold = stderr.includes("the audit is not sent to");
  return stderr.includes("did not answer before the end") || (!isTold && stderr.includes("were not sent"));
}

/** Once more, as if it were the first time, where the machine was too slow for the second that is waited for. */
async function run(
  args: readonly string[],
  env: Record<string, string> = {},
  to: OtlpReceiver = receiver,
): Promise<Ran> {
  for (let tries = 1; ; tries++) {
    const ran = await runOnce(args, env);
    if (!wasTooLate(ran.stderr) || tries === MOST_TRIES) return ran;
    to.forget();
    rmSync(join(mcpRun.home, "state/audit"), { recursive: true, force: true });
  }
}

/** Not as Installation does: the receiver is in this process. */
async function runOnce(args: readonly string[], env: Record<string, string>): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...mcpRun.env, TT: TOKEN, OT: OTEL_KEY, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => (stdout += chunk));
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const [status] = await once(child, "close");
  return { status, stdout, stderr } as Ran;
}

function profile(keys = "", exported = `otlp: "${receiver.address}"`): void {
  mcpRun.profile(
    "p",
    `command: node
args: [${JSON.stringify(KEYED_SERVER)}]
environment: staging
secrets:
  KEY: env:TT
  OTEL_KEY: { from: "env:OT", deliver: none }
audit:
  calls: metadata
  export: { ${exported}, headers: { Authorization: "Bearer {{OTEL_KEY}}" } }
${keys}
`,
  );
}

describe("exec", () => {
  it("sends its records and figures, with a key out of a store, and no value in them", async () => {
    profile();
    const { status, stderr } = await run(["exec", "p", "--", "node", "-e", "console.error(process.env.KEY)"]);

    expect([status, stderr.includes("Warning")]).toEqual([0, false]);
    expect(receiver.logs.map(({ eventName }) => eventName)).toEqual(["mcp_run.launch", "mcp_run.end"]);
    expect(receiver.logs[0]).toMatchObject({
      attributes: { "mcp_run.profile": "p", "mcp_run.mode": "exec", "mcp_run.program": "node" },
      resource: { "service.name": "mcp-run", "deployment.environment.name": "staging" },
    });
    const figures = new Map(receiver.points.map(({ name, value }) => [name, value]));
    expect(figures.get("mcp_run.launches")).toBe(1);
    expect(figures.get("mcp_run.scrubbed")).toBe(1);
    expect(receiver.headers.every(({ authorization }) => authorization === `Bearer ${OTEL_KEY}`)).toBe(true);
    expect(receiver.raw).not.toContain(TOKEN);
    expect(receiver.raw.replaceAll(`Bearer ${OTEL_KEY}`, "")).not.toContain("canary");
    expect(mcpRun.filesWith(OTEL_KEY)).toEqual([]);
  });

  it("says once that nobody takes them, and ends as its program did", async () => {
    receiver.answerWith(() => ({ status: 401, body: "canary-body" }));
    profile();
    const { status, stderr } = await run(["exec", "p", "--", "node", "-e", "process.exit(7)"]);

    expect(status).toBe(7);
    expect(stderr.match(/the audit is not sent to/g)).toHaveLength(1);
    expect(stderr).toContain(`: HTTP 401. Try another secret in \`audit.export.headers\`.`);
    expect(stderr).toContain("2 records of the audit were not sent");
    expect(stderr).not.toContain("canary");
    expect(mcpRun.run(["audit"]).stdout.trimEnd().split("\n")).toHaveLength(2);
  });

  it("shows its key to nobody, whatever logging is switched on", async () => {
    profile();
    const { stdout, stderr } = await run(["exec", "p", "--", "node", "-e", "0"], LOUD);

    expect(stderr).toMatch(/^HTTP \d+: /m);
    expect(receiver.logs).toHaveLength(2);
    expect(leaksIn(stdout + stderr, [OTEL_KEY, TOKEN])).toEqual([]);
  });

  it("leaves the variables of OpenTelemetry to its program, and obeys none", async () => {
    const other = await OtlpReceiver.start();
    const { address } = other;
    profile();
    const { stdout } = await run(
      ["exec", "p", "--", "node", "-p", "process.env.OTEL_EXPORTER_OTLP_ENDPOINT"],
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: address,
      },
    );
    await other.stop();

    expect(stdout).toBe(`${address}\n`);
    expect([receiver.logs.length, other.requests]).toEqual([2, 0]);
  });

  it("gives its program neither the key of the receiver nor anything else of it", async () => {
    profile();
    const { stdout } = await run(["exec", "p", "--", "node", "-p", "JSON.stringify(process.env)"]);

    expect(stdout).not.toContain(OTEL_KEY);
    expect(Object.keys(JSON.parse(stdout)).filter((name) => name.startsWith("OTEL"))).toEqual([]);
  });

  it("goes on without a key that is optional and absent, and says so", async () => {
    profile();
    mcpRun.profile(
      "q",
      `command: node
secrets: { OTEL_KEY: { from: "env:NONE", deliver: none, optional: true } }
audit: { export: { otlp: "${receiver.address}", headers: { Authorization: "Bearer {{OTEL_KEY}}" } } }
`,
    );
    const { status, stderr } = await run(["exec", "q", "--", "node", "-e", "0"]);

    expect([status, receiver.requests]).toEqual([0, 0]);
    expect(stderr).toContain("the secret OTEL_KEY for its headers is absent");
  });
});

describe("a receiver behind TLS", () => {
  it("gets nothing, not even the key, unless its certificate is trusted", async () => {
    const tls = await privateCa();
    const secure = await OtlpReceiver.start(tls);
    try {
      profile("", `otlp: "${secure.address}"`);
      const refused = await run(["exec", "p", "--", "node", "-e", "0"]);
      expect([refused.status, secure.requests]).toEqual([0, 0]);
      expect(refused.stderr).toMatch(
        /is not sent to https:\S+: SELF_SIGNED_CERT_IN_CHAIN\. Try NODE_EXTRA_CA_CERTS/,
      );

      const env = { NODE_EXTRA_CA_CERTS: mcpRun.write("ca.pem", tls.ca) };
      const { stderr } = await run(["exec", "p", "--", "node", "-e", "0"], env, secure);
      expect(stderr).not.toContain("Warning");
      expect(secure.logs).toHaveLength(2);
    } finally {
      await secure.stop();
    }
  });
});

describe("a start that fails", () => {
  const failing = (headers: string) =>
    mcpRun.profile(
      "f",
      `command: node
secrets: { KEY: env:NONE, OTEL_KEY: { from: "env:OT", deliver: none } }
audit: { export: { otlp: "${receiver.address}", headers: { ${headers} } } }
`,
    );

  it("is sent where that needs no secret", async () => {
    failing("X-Scope-OrgID: team-a");
    const { status } = await run(["exec", "f", "--", "node", "-e", "0"]);

    expect(status).toBe(78);
    expect(receiver.logs).toMatchObject([
      {
        eventName: "mcp_run.start_failed",
        severityText: "ERROR",
        attributes: { "mcp_run.code": "secret-invalid" },
      },
    ]);
    expect(receiver.headers[0]).toMatchObject({ "x-scope-orgid": "team-a" });
  });

  it("says nothing of the export where that needs a secret which was never fetched", async () => {
    failing('Authorization: "Bearer {{OTEL_KEY}}"');
    const { status, stderr } = await run(["exec", "f", "--", "node", "-e", "0"]);

    expect([status, receiver.requests]).toEqual([78, 0]);
    expect(stderr).not.toContain("the audit is not sent");
    expect(mcpRun.run(["audit", "--event", "start-failed"]).stdout).toContain("KEY");
  });
});

describe("run", () => {
  it("sends each tool call while it serves, without what was said in it", async () => {
    profile("scrub: { stdout: off }");
    const called = () => receiver.logs.find(({ eventName }) => eventName === "mcp_run.call");
    /** A session with one call; gives what mcp-run has said. */
    const serve = async () => {
      const transport = new ProgramTransport({
        command: process.execPath,
        args: [MAIN, "p"],
        env: { ...mcpRun.env, TT: TOKEN, OT: OTEL_KEY },
      });
      const said = collected(transport.stderr);
      const client = new Client({ name: "test", version: "1.0.0" });
      await client.connect(transport);
      await client.callTool({ name: "key", arguments: { q: "canary-argument" } });
      await until("the call has come", () => called() !== undefined);
      await client.close();
      return said();
    };
    for (let tries = 1; wasTooLate(await serve()) && tries < MOST_TRIES; tries++) receiver.forget();

    expect(called()?.attributes).toMatchObject({
      "mcp_run.tool": "key",
      "mcp_run.outcome": "ok",
      "mcp_run.client": "test",
    });
    const durations = receiver.points.filter(({ name }) => name === "mcp.server.operation.duration");
    expect(durations).toMatchObject([{ value: 1, attributes: { "gen_ai.tool.name": "key" } }]);
    expect(receiver.raw.replaceAll(`Bearer ${OTEL_KEY}`, "")).not.toContain("canary");
  });
});

describe("rotate", () => {
  it("sends each of its steps, with a key that it fetches for that, and counts how it ended", async () => {
    mcpRun.set("local:key", TOKEN);
    mcpRun.profile(
      "r",
      `command: node
args: [${JSON.stringify(KEYED_SERVER)}]
secrets:
  KEY: { from: "local:key", rotate: { generate: { bytes: 32 } } }
  OTEL_PART: { from: "env:OT", deliver: none }
  OTEL_KEY: { template: "{{OTEL_PART}}", deliver: none }
audit: { export: { otlp: "${receiver.address}", headers: { Authorization: "Bearer {{OTEL_KEY}}" } } }
`,
    );
    const { status, stdout, stderr } = await run([
      "rotate",
      "r",
      "--reason",
      "leaked",
      "--secret",
      "KEY",
      "--yes",
    ]);

    expect(stderr).not.toContain("is not sent");
    const steps = receiver.logs.map(
      ({ attributes }) => `${attributes["mcp_run.step"]} ${attributes["mcp_run.state"]}`,
    );
    expect(steps, stdout + stderr).toEqual(expect.arrayContaining(["plan done", "promote done"]));
    expect(steps.at(-1)).toMatch(/^end /);
    expect(receiver.points.filter(({ name }) => name === "mcp_run.rotations")).toMatchObject([{ value: 1 }]);
    expect([0, 75]).toContain(status);
    expect(receiver.raw).not.toContain(TOKEN);
    expect(receiver.headers.every(({ authorization }) => authorization === `Bearer ${OTEL_KEY}`)).toBe(true);
  });

  it("sends nothing of one that may not begin, and waits for nobody", async () => {
    mcpRun.set("local:key", TOKEN);
    mcpRun.profile(
      "r",
      `command: node
secrets:
  KEY: { from: "local:key", rotate: { generate: { bytes: 32 } } }
audit: { export: { otlp: "${receiver.address}" } }
`,
    );
    rmSync(join(mcpRun.home, "state/audit"), { recursive: true, force: true });
    mcpRun.write("state/audit", "");

    const { status } = await run(["rotate", "r", "--reason", "leaked", "--yes"]);

    expect([status, receiver.requests]).toEqual([77, 0]);
  });
});

/** What the keys of a profile do to the server that starts, through the built program. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

/** A server that says what it was given: its environment to the client, and the values of some names to its log. */
const SERVER = `
  console.log(JSON.stringify({ jsonrpc: "2.0", method: "given", params: process.env }));
  for (const name of process.argv.slice(1)) console.error(name + "=" + process.env[name]);`;

function serve(keys: string, logged: readonly string[] = [], top = ""): void {
  const args = JSON.stringify(["-e", SERVER, "--", ...logged]);
  const body = `command: node\nargs: ${args}\n${keys}`.replaceAll(/^/gm, "    ");
  mcpRun.write("config/mcp-run.yaml", `version: 1\n${top}\nprofiles:\n  p:\n${body}\n`);
}

function given(stdout: string): Record<string, string> {
  return (JSON.parse(stdout) as { params: Record<string, string> }).params;
}

function versionOf(ref: string): string {
  return /version (v[0-9a-f]+)/.exec(mcpRun.run(["secrets", "get", ref]).stdout)?.[1] ?? "";
}

describe("a profile's", () => {
  it("defaults, env and inheritEnv meet in the server's environment", () => {
    serve("env: { OVER: mine }\ninheritEnv: [WANTED]", [], "defaults: { env: { BASE: base, OVER: base } }");

    const ran = mcpRun.run(["p"], { env: { WANTED: "w", UNWANTED: "u" } });

    expect(given(ran.stdout)).toMatchObject({ BASE: "base", OVER: "mine", WANTED: "w" });
    expect(given(ran.stdout)).not.toHaveProperty("UNWANTED");
  });

  it("secrets reach the server by ref, version, field, template and secretsFrom, and not under deliver: none", () => {
    mcpRun.set("local:t", "canary-first");
    const first = versionOf("local:t");
    mcpRun.set("local:t", "canary-second");
    mcpRun.set("local:doc", '{"A":"canary-a","B":"canary-b","deep":{"pw":"canary p/w"}}');
    serve(`secrets:
  NOW: local:t
  BEFORE: { from: local:t, version: ${first} }
  PW: { from: "local:doc#deep.pw", deliver: none }
  URL: { template: "x://{{PW|uri}}@h" }
  GONE: { from: local:gone, optional: true }
secretsFrom: [{ from: local:doc, only: [A] }, { from: local:doc, prefix: P_ }]`);

    const ran = mcpRun.run(["p"]);

    expect(given(ran.stdout)).toMatchObject({
      NOW: "canary-second",
      BEFORE: "canary-first",
      URL: "x://canary%20p%2Fw@h",
      A: "canary-a",
      P_A: "canary-a",
      P_B: "canary-b",
    });
    expect(given(ran.stdout)).not.toHaveProperty("PW");
    expect(given(ran.stdout)).not.toHaveProperty("GONE");
    expect(ran.stderr).not.toContain("canary");
  });

  it("scrub: false leaves one secret readable in the log, and no other", () => {
    mcpRun.set("local:doc", '{"user":"canary-user","pw":"canary-pw"}');
    serve('secrets: { USER_NAME: { from: "local:doc#user", scrub: false }, PW: "local:doc#pw" }', [
      "USER_NAME",
      "PW",
    ]);

    const ran = mcpRun.run(["p"]);

    expect(ran.stderr).toContain("USER_NAME=canary-user\nPW=[mcp-run:PW]\n");
  });

  it("maxLine bounds what a client may send, and the client is told", () => {
    serve("maxLine: 64KiB");
    const long = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "x", params: "y".repeat(65_536) });

    const ran = mcpRun.run(["p"], { input: `${long}\n` });

    expect(ran.stdout).toContain('"id":7,"error":{"code":-32603,"message":"message of ');
    expect(ran.stderr).toContain("from the client was too long and was dropped");
  });

  it("plain text that looks like a credential is only warned of with --allow-plaintext, at each start", () => {
    serve("env: { API: ghp_canary0000000000000000 }");
    const warning =
      /Warning: .*mcp-run\.yaml:\d+:\d+: `API` looks like a GitHub token\. Try `mcp-run secrets set/;

    const refused = mcpRun.run(["p"]);
    const served = mcpRun.run(["--allow-plaintext", "p"]);
    const executed = mcpRun.run(["--allow-plaintext", "exec", "p", "--", process.execPath, "-e", "0"]);

    expect(refused).toMatchObject({ status: 78, stdout: "" });
    expect(served.stderr).toMatch(warning);
    expect(executed.stderr).toMatch(warning);
    expect(served.stderr + executed.stderr).not.toContain("ghp_");
    expect([served.status, executed.status]).toEqual([0, 0]);
  });
});

describe("--log-format json", () => {
  it("gives each line of ours as an object, with names and no value", () => {
    mcpRun.set("local:t", "canary-json");
    serve("secrets: { T: local:t }");

    const ran = mcpRun.run(["--log-format", "json", "p"]);

    const lines = ran.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(lines).toMatchObject([
      {
        level: "info",
        type: "started",
        profile: "p",
        generation: 1,
        secrets: [{ name: "T", from: "local:t" }],
      },
      { level: "warn", type: "leak", profile: "p", secrets: ["T"], method: "given", isMasked: false },
    ]);
    expect(ran.stderr).not.toContain("canary-");
  });
});

/** `mcp-run check --start` asks the probe of a profile, since a handshake alone does not use the key. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN, ROOT } from "../helpers/installation.ts";
import { until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

const SERVER = join(ROOT, "test/helpers/servers/session.mjs");

let mcpRun: Installation;
beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set("local:t", "canary-probe-value");
});
afterEach(() => mcpRun.remove());

function profile(rest: string): void {
  mcpRun.profile(
    "p",
    `command: node\nargs: [${JSON.stringify(SERVER)}]\nsecrets: { SECRET: local:t }\n${rest}`,
  );
}

describe("mcp-run check --start", () => {
  it("says that the probe passed, without a word of what was answered", () => {
    profile("probe: { tool: who, arguments: {} }\n");

    const ran = mcpRun.run(["check", "--start", "p"]);
    const json = mcpRun.run(["check", "--start", "--json", "p"]);

    expect(ran.stdout).toContain("✔ its probe who passed");
    expect(ran).toMatchObject({ status: 0, stderr: "" });
    const [checked] = JSON.parse(json.stdout).profiles as [{ start: object }];
    expect(checked.start).toMatchObject({ probe: { name: "who", ok: true }, ms: expect.any(Number) });
    expect(checked.start).not.toHaveProperty("readyAt");
    expect(ran.stdout + json.stdout).not.toContain("canary-");
  });

  it("fails if the probe does", () => {
    profile("probe: { tool: die, arguments: { code: 3 } }\n");

    const ran = mcpRun.run(["check", "--start", "p"]);

    expect(ran.stdout).toMatch(/✘ the server came up, but its probe die was refused \(-32603\)\. Try /);
    expect(ran.stdout).toContain("exit code 3");
    expect(ran.stdout).not.toContain("passed");
    expect(ran.status).toBe(69);
  });

  it("runs a program with what the server has, and says what it said, without a secret", () => {
    const program = mcpRun.write(
      "probe.mjs",
      "console.error(process.env.SECRET); process.exit(process.env.BAD ? 4 : 0);",
    );
    const probe = `probe: { program: [node, ${program}] }\n`;
    profile(probe);
    const good = mcpRun.run(["check", "--start", "p"]);
    profile(`${probe}env: { BAD: "1" }\n`);
    const bad = mcpRun.run(["check", "--start", "p"]);

    expect(good.stdout).toContain("✔ its probe probe.mjs passed");
    expect(good).toMatchObject({ status: 0, stderr: "" });
    expect(bad.stdout).toContain(
      "✘ the server came up, but its probe probe.mjs ended with exit code 4 | [mcp-run:SECRET]",
    );
    expect(bad.status).toBe(69);
    expect(good.stdout + bad.stdout).not.toContain("canary-");
  });

  it("is ended by a signal as itself, says nothing of the server, and starts no other", async () => {
    const server = (name: string) => {
      const up = join(mcpRun.home, name);
      const script = `require("fs").writeFileSync(${JSON.stringify(up)}, ""); setInterval(() => {}, 1000)`;
      mcpRun.profile(name, `command: node\nargs: ["-e", ${JSON.stringify(script)}]\n`);
      return () => mcpRun.has(name);
    };
    const [isFirstUp, isSecondUp] = [server("first"), server("second")];
    const args = ["check", "--start", "first", "second"];
    const child = spawn(process.execPath, [MAIN, ...args], { env: mcpRun.env, cwd: mcpRun.home });
    const said = collected(child.stdout);
    const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
    await until("its server is up", isFirstUp);

    child.kill("SIGTERM");

    expect(await ended).toEqual({ code: 143, signal: null });
    expect(said()).toBe("");
    expect(isSecondUp()).toBe(false);
  });

  it("says where nothing proves the key, and calls it no failure", () => {
    profile("");

    const ran = mcpRun.run(["check", "--start", "p"]);
    const json = mcpRun.run(["check", "--start", "--json", "p"]);

    expect(ran.stdout).toContain("  - without a probe the key itself is not exercised\n");
    expect(ran.status).toBe(0);
    expect(json.stdout).not.toContain("exercised");
  });
});

/** `mcp-run exec PROFILE -- CMD` as a person or a CI job uses it. */
import { spawn } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { killAll, until } from "../helpers/processes.ts";

const SECRET = "canary-exec-s3cret";

let mcpRun: Installation;
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.profile("p", "command: node\nsecrets: { TOKEN: local:token }\n");
  mcpRun.set("local:token", SECRET);
});

afterEach(() => {
  killAll(pids);
  pids.clear();
  mcpRun.remove();
});

function execNode(
  script: string,
  args: readonly string[] = [],
  options: Parameters<Installation["run"]>[1] = {},
) {
  return mcpRun.run(
    ["--log-level", "error", "exec", "p", "--", process.execPath, "-e", script, "--", ...args],
    options,
  );
}

describe("mcp-run exec", () => {
  it.each([0, 1, 7, 255])("passes exit code %i on", (code) => {
    expect(execNode(`process.exit(${code})`).status).toBe(code);
  });

  it.runIf(process.platform !== "win32").each([
    ["SIGTERM", 143],
    ["SIGKILL", 137],
    ["SIGINT", 130],
  ])("turns a death by %s into %i", (signal, code) => {
    expect(execNode(`process.kill(process.pid, "${signal}")`).status).toBe(code);
  });

  it("gives the program the secret and the caller's environment, less the credentials", () => {
    const script =
      "process.stdout.write(JSON.stringify([process.env.TOKEN.length, process.env.MINE, process.env.OP_SESSION, process.env.MCP_RUN_HOME]))";

    const ran = execNode(script, [], { env: { MINE: "1", OP_SESSION: "canary-op" } });

    expect(ran.stdout).toBe(JSON.stringify([SECRET.length, "1", null, null]));
  });

  it("lets the secret win over an ambient variable of the same name", () => {
    const ran = execNode("process.stdout.write(String(process.env.TOKEN.length))", [], {
      env: { TOKEN: "x" },
    });

    expect(ran.stdout).toBe(String(SECRET.length));
  });

  it("scrubs both streams, in several encodings and across writes", () => {
    const script = `
      const t = process.env.TOKEN;
      process.stdout.write("a " + t.slice(0, 5));
      setTimeout(() => {
        process.stdout.write(t.slice(5) + " b " + Buffer.from(t).toString("base64") + " c " + Buffer.from(t).toString("hex"));
        process.stderr.write(encodeURIComponent(t) + JSON.stringify({ t }));
      }, 30);`;

    const ran = execNode(script);

    expect(ran.stdout).toBe("a [mcp-run:TOKEN] b [mcp-run:TOKEN] c [mcp-run:TOKEN]");
    expect(ran.stderr).toBe('[mcp-run:TOKEN]{"t":"[mcp-run:TOKEN]"}');
  });

  it("leaves both streams alone with --no-scrub", () => {
    const ran = mcpRun.run([
      "--log-level",
      "error",
      "exec",
      "--no-scrub",
      "p",
      "--",
      process.execPath,
      "-p",
      "process.env.TOKEN",
    ]);

    expect(ran.stdout).toBe(`${SECRET}\n`);
  });

  it("passes stdin on, and everything after -- as it was written", () => {
    const odd = ["", "two words", "$HOME", "`x`", "'\"\\", "line\nbreak", "*", "😀", "--config", "--"];
    const script = `
      let input = ""; process.stdin.on("data", (c) => { input += c; });
      process.stdin.on("end", () => process.stdout.write(JSON.stringify([input, process.argv.slice(1)])));`;

    const ran = execNode(script, odd, { input: "through stdin" });

    const [input, args] = JSON.parse(ran.stdout) as [string, string[]];
    expect(input).toBe("through stdin");
    expect(args.slice(-odd.length)).toEqual(odd);
  });

  it("keeps values with newlines, quotes and emoji as they are", () => {
    const value = "canary 'a' \"b\" $c \\ \n😀\n\nend";
    mcpRun.set("local:token", value);

    const ran = execNode(
      "process.stdout.write(Buffer.from(process.env.TOKEN).toString('base64').split('').join('.'))",
    );

    expect(Buffer.from(ran.stdout.replaceAll(".", ""), "base64").toString()).toBe(value);
  });

  it("loses no byte of a large output", () => {
    const ran = execNode('process.stdout.write("0123456789".repeat(400_000))');

    expect(ran.stdout.length).toBe(4_000_000);
  });

  it("shows a prompt without a newline at once", async () => {
    const script = 'process.stdout.write("prompt> "); process.stdin.once("data", () => process.exit(0))';
    const launcher = spawn(process.execPath, [MAIN, "exec", "p", "--", process.execPath, "-e", script], {
      env: mcpRun.env,
    });
    if (launcher.pid) pids.add(launcher.pid);
    let shown = "";
    launcher.stdout.on("data", (chunk) => {
      shown += chunk;
    });

    await until("the prompt is there", () => shown === "prompt> ");

    const ended = new Promise((resolve) => launcher.once("exit", resolve));
    launcher.stdin.write("x");
    expect(await ended).toBe(0);
  });

  it("delivers a secret as a file that is private and goes with the program", () => {
    mcpRun.profile("p", "command: node\nsecrets: { TOKEN: { from: local:token, deliver: file } }\n");
    const script = `
      const { statSync, readFileSync } = require("fs");
      const file = process.env.TOKEN_FILE;
      const text = readFileSync(file, "utf8");
      process.stdout.write(JSON.stringify([file, text.length, (statSync(file).mode & 0o777).toString(8), process.env.TOKEN ?? null]));`;

    const ran = execNode(script);

    const [file, length, mode, variable] = JSON.parse(ran.stdout) as [string, number, string, string | null];
    expect([length, mode, variable]).toEqual([SECRET.length, "600", null]);
    expect(mcpRun.has(file)).toBe(false);
    expect(mcpRun.filesWith(SECRET)).toEqual([]);
  });

  it("puts a secret into arguments only where the profile says so, with a warning", () => {
    mcpRun.profile(
      "p",
      'command: node\nargs: ["-e", "console.log(JSON.stringify({ jsonrpc: 1 + 1, method: process.argv[1] }))", "{{TOKEN}}"]\n' +
        "secretsInArgs: [TOKEN]\nsecrets: { TOKEN: local:token }\n",
    );

    const served = mcpRun.run(["p"]);

    expect(JSON.parse(served.stdout)).toMatchObject({ method: SECRET });
    expect(served.stderr).toContain("ps shows the value of TOKEN");
    expect(served.stderr).not.toContain(SECRET);
  });
});

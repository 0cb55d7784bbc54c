/** mcp-run on a terminal, made by script(1), that its user closes. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { killAll, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

const SCRIPT = "/usr/bin/script";

let mcpRun: Installation;
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => {
  killAll(pids);
  pids.clear();
  mcpRun.remove();
});

const hasTerminal = process.platform === "linux" && existsSync(SCRIPT);

function onTerminal(command: string) {
  const terminal = spawn(SCRIPT, ["-qc", command, "/dev/null"], {
    env: mcpRun.env,
    cwd: mcpRun.home,
    stdio: ["pipe", "pipe", "ignore"],
  });
  pids.add(terminal.pid as number);
  return { terminal, shown: collected(terminal.stdout) };
}

describe.runIf(hasTerminal)("a terminal that goes away", () => {
  it.each([
    ["exec", "exec p -- sh -c 'echo >up; exec sleep 60'"],
    ["the prompt for a secret", "secrets set local:u"],
  ])("ends %s by HUP, without the core dump that would hold the secrets", async (_what, command) => {
    mcpRun.profile("p", "command: sleep\nsecrets: { T: local:t }\n");
    mcpRun.set("local:t", "canary-terminal");
    const shell = mcpRun.write(
      "shell",
      `trap : HUP\n'${process.execPath}' '${MAIN}' ${command}\necho $? >status\n`,
    );
    const { terminal, shown } = onTerminal(`ulimit -c 0; sh ${shell}`);
    await until("it runs", () => mcpRun.has("up") || shown().includes("not shown"));

    terminal.kill("SIGKILL");

    await until("it has ended", () => mcpRun.has("status") && mcpRun.read("status").length > 0);
    expect(mcpRun.read("status").toString()).toBe("129\n");
  });
});

describe.runIf(hasTerminal)("a rotation whose new key a person enters", () => {
  it("shows of it a fingerprint that can be compared with the one in the plan", async () => {
    const rotate = "rotate: { console: 'https://console.example/keys' }";
    mcpRun.profile("p", `command: sleep\nsecrets: { T: { from: local:t, ${rotate} } }\n`);
    mcpRun.set("local:t", "canary-terminal");
    const { terminal, shown } = onTerminal(`'${process.execPath}' '${MAIN}' rotate p --reason drill`);
    const typed = async (question: string, answer: string) => {
      await until(question, () => shown().includes(question));
      terminal.stdin.write(`${answer}\n`);
    };

    await typed("Do it?", "y");
    // The old one, by mistake.
    await typed("New T (not shown)", "canary-terminal");
    await typed("Is that all of it?", "n");

    const live = /live fingerprint (\w{12})/.exec(shown())?.[1];
    expect(live).toBeDefined();
    expect(shown()).toContain(`T: 15 characters, fingerprint ${live}. Is that all of it?`);
    expect(shown()).not.toContain("canary-terminal");
  });
});

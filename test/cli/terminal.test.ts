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

describe.runIf(process.platform === "linux" && existsSync(SCRIPT))("a terminal that goes away", () => {
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
    const terminal = spawn(SCRIPT, ["-qc", `ulimit -c 0; sh ${shell}`, "/dev/null"], {
      env: mcpRun.env,
      cwd: mcpRun.home,
      stdio: ["pipe", "pipe", "ignore"],
    });
    pids.add(terminal.pid as number);
    const shown = collected(terminal.stdout);
    await until("it runs", () => mcpRun.has("up") || shown().includes("not shown"));

    terminal.kill("SIGKILL");

    await until("it has ended", () => mcpRun.has("status") && mcpRun.read("status").length > 0);
    expect(mcpRun.read("status").toString()).toBe("129\n");
  });
});

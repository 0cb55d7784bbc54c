/** `mcp-run exec` on a terminal, made by script(1), that its user closes. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { killAll, until } from "../helpers/processes.ts";

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
  it("ends exec by HUP, without the core dump that would hold the secrets", async () => {
    mcpRun.profile("p", "command: sleep\nsecrets: { T: local:t }\n");
    mcpRun.set("local:t", "canary-terminal");
    const exec = `'${process.execPath}' '${MAIN}' exec p -- sh -c 'echo $$ >up; exec sleep 60'`;
    const shell = mcpRun.write("shell", `trap : HUP\n${exec}\necho $? >status\n`);
    const terminal = spawn(SCRIPT, ["-qc", `ulimit -c 0; sh ${shell}`, "/dev/null"], {
      env: mcpRun.env,
      cwd: mcpRun.home,
      stdio: ["pipe", "ignore", "ignore"],
    });
    pids.add(terminal.pid as number);
    await until("the program runs", () => mcpRun.has("up") && mcpRun.read("up").length > 0);

    terminal.kill("SIGKILL");

    await until("exec has ended", () => mcpRun.has("status") && mcpRun.read("status").length > 0);
    expect(mcpRun.read("status").toString()).toBe("129\n");
  });
});

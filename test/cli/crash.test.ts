/** A bug in mcp-run itself: something is thrown where nobody waits for it. And a signal when all is done. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN } from "../helpers/installation.ts";
import { isAlive, until } from "../helpers/processes.ts";
import { collected } from "../helpers/serving.ts";

const SECRET = "canary-crash-value";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

describe("a bug that nobody catches", () => {
  it.each([
    ["an exception", "throw new Error"],
    ["a rejection", "Promise.reject(new Error"],
  ])("is 70 and one line without the secret, and takes the program along: %s", async (_what, thrown) => {
    const up = join(mcpRun.home, "up");
    const end = thrown.includes("(") ? ")" : "";
    const crash = mcpRun.write(
      "crash.cjs",
      `if (process.argv[2] === "exec") setInterval(() => {
         if (require("fs").existsSync(${JSON.stringify(up)})) ${thrown}("lost ${SECRET}")${end};
       }, 20);`,
    );
    mcpRun.profile("p", "command: node\nsecrets: { T: local:t }\n");
    mcpRun.set("local:t", SECRET);

    const ran = mcpRun.run(["exec", "p", "--", "sh", "-c", "echo $$ >draft; mv draft up; exec sleep 60"], {
      env: { NODE_OPTIONS: `--require ${crash}` },
    });

    expect(ran.status).toBe(70);
    expect(ran.stderr.split("\n")).toEqual([
      expect.stringMatching(/^mcp-run: p: generation 1 started/),
      expect.stringMatching(/^mcp-run: Cannot go on: Error: lost \[mcp-run:T\]\. This is a bug/),
      "",
    ]);
    const pid = Number(mcpRun.read("up"));
    await until("the program is gone", () => !isAlive(pid));
  });
});

describe.skipIf(process.platform === "win32")("a signal when all is done", () => {
  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "does not take the exit code away: %s",
    async (signal) => {
      const lasting = mcpRun.write(
        "lasting.cjs",
        `if (process.argv[2] === "status") setInterval(() => {
         if (process.exitCode !== undefined) console.error("over");
       }, 10);`,
      );
      const child = spawn(process.execPath, [MAIN, "status", "--check"], {
        env: { ...mcpRun.env, NODE_OPTIONS: `--require ${lasting}` },
      });
      const said = collected(child.stderr);
      const ended = new Promise((resolve) => child.once("exit", (code, by) => resolve({ code, by })));
      await until("it is over", () => said().includes("over"));

      child.kill(signal);

      expect(await ended).toEqual({ code: 69, by: null });
    },
  );
});

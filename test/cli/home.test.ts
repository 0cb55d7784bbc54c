/** Where mcp-run lives when the environment says little about it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, isWithinReachOf } from "../helpers/installation.ts";

/** A user id without an entry in /etc/passwd, as containers have them. */
const NO_ACCOUNT = 64_999;

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

describe("the home", () => {
  it.each(["", "."])("is never the working directory, not even with HOME=%j", (HOME) => {
    const folder = join(mcpRun.home, "cloned");
    mkdirSync(folder, { mode: 0o700 });
    mcpRun.write("cloned/.config/mcp-run/profiles/hostile.yaml", "command: node\nsecrets: { T: env:T }\n");

    const ran = mcpRun.run(["hostile"], { cwd: folder, env: { HOME, MCP_RUN_HOME: undefined, T: "x" } });

    expect(ran).toMatchObject({ status: 66, stdout: "" });
    expect(ran.stderr).toContain('Cannot find profile "hostile"');
  });

  it.runIf(process.getuid?.() === 0)(
    "need not be there: a user without an account can start servers",
    (test) => {
      if (!isWithinReachOf(NO_ACCOUNT)) test.skip("another user may not enter this checkout");
      mcpRun.giveTo(NO_ACCOUNT);
      const options = { uid: NO_ACCOUNT, env: { HOME: undefined } };

      const set = mcpRun.run(["secrets", "set", "local:t"], { ...options, input: "canary-t" });
      const homeless = mcpRun.run(["check"], {
        uid: NO_ACCOUNT,
        env: { HOME: undefined, MCP_RUN_HOME: undefined },
      });

      expect(set).toMatchObject({ status: 0 });
      expect(homeless).toMatchObject({ status: 66 });
      expect(homeless.stderr).toMatch(/^mcp-run: Cannot .*\n$/);
    },
  );
});

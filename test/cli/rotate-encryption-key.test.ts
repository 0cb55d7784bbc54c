/** A key that data is encrypted with, by the built program: only its hook may replace it, and it encrypts anew first. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";

/** Answers what the file `answers` says, by action, and keeps the order in which it was asked. */
const HOOK = `
import { appendFileSync, readFileSync } from "node:fs";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { action, value, oldValue } = JSON.parse(text);
const folder = process.argv[2];
appendFileSync(folder + "/calls", action + " " + [oldValue, value].filter(Boolean).join(" ") + "\\n");
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(folder + "/answers", "utf8"))[action]));
`;

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
  const hook = mcpRun.write("hook.mjs", HOOK);
  mcpRun.profile(
    "p",
    `command: ${process.execPath}
args: [-e, ""]
secrets:
  COLUMN_KEY:
    from: local:column
    kind: encryption-key
    rotate: { hook: [${process.execPath}, ${hook}, ${mcpRun.home}], grantOldValue: true }
`,
  );
  mcpRun.set("local:column", "canary-old-column");
  answer(true);
});
afterEach(() => mcpRun.remove());

function answer(reencrypted: boolean): void {
  const answers = {
    mint: { value: "canary-new-column" },
    find: {},
    reencrypt: { reencrypted },
    revoke: { revoked: true },
    verify: { accepted: false },
  };
  mcpRun.write("answers", JSON.stringify(answers));
}

const calls = () => readFileSync(join(mcpRun.home, "calls"), "utf8").trim().split("\n");

describe("a key that data is encrypted with", () => {
  it.each([["--generate"], ["--from-stdin"]])("is not replaced past its hook: %s", (flag) => {
    const ran = mcpRun.run(["rotate", "p", flag, "--yes", "--reason", "drill"], { input: "canary-other" });

    expect(ran).toMatchObject({ status: 64 });
    expect(ran.stderr).toContain(
      "Cannot rotate COLUMN_KEY: it encrypts something, and only its hook can encrypt that anew. Try `--mint`.",
    );
    expect(mcpRun.has("calls")).toBe(false);
  });

  it("is not ended before its hook has encrypted everything anew, and the rotation says so", () => {
    answer(false);
    const server = `process.stdin.on("data", (text) => { for (const line of String(text).split("\\n").filter(Boolean)) { const { id, method } = JSON.parse(line); if (id !== undefined) process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: method === "initialize" ? { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "s", version: "1" } } : {} }) + "\\n"); } })`;
    const file = mcpRun.write("server.cjs", server);
    const written = mcpRun.read("config/profiles/p.yaml").toString();
    mcpRun.profile("p", written.replace('args: [-e, ""]', `args: [${file}]`));

    const stuck = mcpRun.run(["rotate", "p", "--yes", "--reason", "drill"]);
    expect(stuck, stuck.stdout + stuck.stderr).toMatchObject({ status: 75 });
    expect(stuck.stdout).toContain("not everything that the old COLUMN_KEY has encrypted is encrypted anew");
    expect(stuck.stdout).toContain("OLD KEY STILL VALID: COLUMN_KEY");
    expect(calls().map((call) => call.split(" ")[0])).toEqual(["find", "mint", "reencrypt"]);
    expect(calls().at(-1)).toBe("reencrypt canary-old-column canary-new-column");
    answer(true);
    const id = /\d{8}-\d{6}-\w{6}/.exec(stuck.stdout)?.[0] ?? "";
    const ended = mcpRun.run(["rotate", "p", "--resume", id, "--yes"]);

    expect(ended, ended.stdout + ended.stderr).toMatchObject({ status: 0 });
    expect(calls().map((call) => call.split(" ")[0])).toEqual([
      "find",
      "mint",
      "reencrypt",
      "reencrypt",
      "revoke",
      "verify",
    ]);
    expect(stuck.stdout + ended.stdout).not.toContain("canary-");
  });
});

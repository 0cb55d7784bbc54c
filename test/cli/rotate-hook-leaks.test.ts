/** A hook that tells its secrets to everybody who listens: nobody hears them from mcp-run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "../helpers/installation.ts";

const OLD = "canary-old-key/with+signs";
const NEW = "canary-new-key/with+signs";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set("local:key", OLD);
});
afterEach(() => mcpRun.remove());

/** Says all that it knows on stderr, in the ways in which programs quote values, and then fails at `action`. */
function talkativeHook(action: string): void {
  const hook = mcpRun.write(
    "hook.mjs",
    `let text = ""; for await (const chunk of process.stdin) text += chunk;
     const question = JSON.parse(text);
     for (const value of ["${NEW}", "${OLD}"])
       console.error([value, JSON.stringify(value), encodeURIComponent(value), Buffer.from(value).toString("base64"), Buffer.from(value).toString("hex")].join(" "));
     console.error(text);
     if (question.action === "${action}") process.exit(3);
     const answers = { find: {}, mint: { value: "${NEW}", keyId: "key-2" }, revoke: { revoked: true }, verify: { accepted: false } };
     process.stdout.write(JSON.stringify(answers[question.action]));`,
  );
  const server = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
  mcpRun.profile(
    "p",
    `command: node\nargs: [${server}]\nsecrets: { KEY: { from: "local:key", rotate: { hook: [node, ${hook}], grantOldValue: true } } }\n`,
  );
}

/** In every way in which the hook has said them. */
function waysToSay(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  return [value, encodeURIComponent(value), bytes.toString("base64"), bytes.toString("hex")];
}

describe("a hook that prints its secrets to stderr", () => {
  it.each([
    ["and answers", "nothing", 0],
    ["and fails to mint", "mint", 69],
    ["and fails to revoke", "revoke", 75],
    ["and fails to verify", "verify", 75],
  ])("%s is heard by nobody", (_what, action, status) => {
    talkativeHook(action);
    const report = join(mcpRun.home, "incident.md");

    const ran = mcpRun.run([
      "rotate",
      "p",
      "--reason",
      "leaked",
      "--yes",
      "--report",
      report,
      "--log-level",
      "debug",
    ]);

    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status });
    const said = ran.stdout + ran.stderr + readFileSync(report, "utf8");
    if (status !== 0) expect(said).toContain("exited with code 3");
    for (const way of [OLD, NEW].flatMap(waysToSay)) {
      expect(said).not.toContain(way);
      expect(mcpRun.filesWith(way).filter((file) => !file.endsWith("hook.mjs"))).toEqual([]);
    }
  });
});

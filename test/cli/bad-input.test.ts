/** Every mistake that a user can make: what it says, how it ends, and that nothing was started or half written. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, type Ran } from "../helpers/installation.ts";

const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

/** One to three lines in the form «Cannot …: reason. Try ….», no stack trace, and the program was not started. */
function expectRefusal(ran: Ran, exitCode: number, ...parts: readonly (string | RegExp)[]): void {
  for (const part of parts) expect(ran.stderr).toMatch(part);
  expect(ran.stderr).toMatch(/^mcp-run: Cannot \S.*[:.]/m);
  // Each mistake in a file comes with its line and a caret.
  const isAboutFile = /^mcp-run: Cannot load .*: \d+ errors?:$/m.test(ran.stderr);
  if (!isAboutFile) expect(ran.stderr.trimEnd().split("\n").length).toBeLessThanOrEqual(3);
  expect(ran.stderr).not.toMatch(/^\s+at .*[:(]\d+/m);
  expect(ran.stderr).not.toContain("canary-");
  expect(ran.stdout).toBe("");
  expect(ran.status).toBe(exitCode);
  expect(mcpRun.has("started")).toBe(false);
}

function expectOneLine(ran: Ran): void {
  expect(ran.stderr).toMatch(/^mcp-run: Cannot \S.*: .*\. Try .*\.\n$/);
}

/** exec of a program that leaves a mark when it runs. */
function start(profile = "p", options: Parameters<Installation["run"]>[1] = {}): Ran {
  const mark = join(mcpRun.home, "started");
  const program = `require("fs").writeFileSync(${JSON.stringify(mark)}, "")`;
  return mcpRun.run(["exec", profile, "--", process.execPath, "-e", program], options);
}

const PROFILE = "command: node\nsecrets:\n  TOKEN: local:token\n";

describe("a profile that can't be used", () => {
  it("does not exist, and neither does any other", () => {
    const ran = start("github");

    expectRefusal(ran, 66, "Cannot find profile", "github");
    expectOneLine(ran);
  });

  it("has a name that is close to another one", () => {
    mcpRun.profile("github", PROFILE);

    expectRefusal(start("gihtub"), 66, /gihtub.*github/s);
  });

  it("stands only in the working directory, which is never read by itself", () => {
    mcpRun.write(
      "work/mcp-run.yaml",
      `version: 1\nprofiles:\n  p:\n    command: node\n    secrets: { T: "local:t" }\n`,
    );

    expectRefusal(start("p", { cwd: join(mcpRun.home, "work") }), 66, "--config ./mcp-run.yaml");
  });

  it.each([
    ["an empty file", "", "empty"],
    ["broken YAML", "command: [node\nsecrets: {", /p\.yaml:\d+:\d+/],
    ["a list", "- a\n- b\n", /p\.yaml:1:1/],
    ["a misspelt key", "command: node\nsecrects: { T: local:t }\n", "did you mean `secrets`?"],
    ["an unknown provider", "command: node\nsecrets: { T: vautl:t }\n", /vautl/],
    ["a malformed ref", "command: node\nsecrets: { T: local }\n", /colon/],
    [
      "a credential in plain text",
      "command: node\nsecrets: { T: local:t }\nenv: { TOKEN: ghp_0123456789abcdefghijklmnopqrstuvwxyz }\n",
      /secrets set/,
    ],
    [
      "a key that does nothing yet",
      "command: node\nsecrets: { T: local:t }\nrotate: { console: https://example.com }\n",
      "not yet supported",
    ],
  ])("is %s", (_what, text, part) => {
    mcpRun.profile("p", text);

    const ran = start();

    expectRefusal(ran, 78, part);
    expect(ran.stderr).not.toContain("ghp_0123");
  });

  it.runIf(process.platform !== "win32")("can be written by others", () => {
    const file = mcpRun.profile("p", PROFILE);
    chmodSync(file, 0o666);

    const ran = start();

    expectRefusal(ran, 77, `chmod o-w ${file}`);
  });
});

describe("a secret that can't be had", () => {
  beforeEach(() => {
    mcpRun.profile("p", PROFILE);
  });

  it("is not in the store, which is not there either", () => {
    const ran = start();

    expectRefusal(ran, 78, "Cannot read secret TOKEN from local:token", "mcp-run secrets set local:token");
    expectOneLine(ran);
  });

  it("is not in the store, but one with a similar name is", () => {
    mcpRun.set("local:tokne", "canary-value");

    expectRefusal(start(), 78, "TOKEN", "local:token", "tokne");
  });

  it("is empty", () => {
    mcpRun.profile("p", "command: node\nsecrets: { TOKEN: env:EMPTY }\n");

    expectRefusal(start("p", { env: { EMPTY: "" } }), 78, "TOKEN", "env:EMPTY", "empty");
  });

  it("is a JSON document without that key: the names of the keys are shown, not the values", () => {
    mcpRun.profile("p", "command: node\nsecrets: { TOKEN: local:token#password }\n");
    mcpRun.set("local:token", '{"user":"canary-user","passwd":"canary-pass"}');

    expectRefusal(start(), 78, "local:token#password", '"user", "passwd"');
  });

  it("is no JSON document at all", () => {
    mcpRun.profile("p", "command: node\nsecrets: { TOKEN: local:token#password }\n");
    mcpRun.set("local:token", "canary-plain");

    expectRefusal(start(), 78, "not JSON");
  });

  it("is in a store that was encrypted for somebody else", () => {
    const other = new Installation();
    other.set("local:token", "canary-other");
    mcpRun.set("local:token", "canary-mine");
    mcpRun.write("data/local.age", other.read("data/local.age"));
    other.remove();

    expectRefusal(start(), 77, "Cannot read secret TOKEN from local:token");
  });

  it("is in a store that is damaged, which is then left as it is", () => {
    mcpRun.set("local:token", "canary-value");
    const damaged = mcpRun.read("data/local.age").subarray(0, -3);
    mcpRun.write("data/local.age", damaged);

    expectRefusal(start(), 78, "local:token");
    const set = mcpRun.run(["secrets", "set", "local:other"], { input: "canary-new" });
    expectRefusal(set, 78);
    expect(mcpRun.read("data/local.age").equals(damaged)).toBe(true);
  });

  it("does not fit into a variable", () => {
    mcpRun.set("local:token", `canary-${"x".repeat(140 * 1024)}`);

    const ran = start();

    if (process.platform === "linux") expectRefusal(ran, 78, "TOKEN", "deliver: file");
  });

  it("would change how programs load", () => {
    mcpRun.profile("p", "command: node\nsecrets: { LD_PRELOAD: local:token }\n");
    mcpRun.set("local:token", "canary-value");

    expectRefusal(start(), 78, "LD_PRELOAD");
  });
});

describe("a store that can't be written", () => {
  it.runIf(IS_ROOT)("lies in a home that is read-only", () => {
    chmodSync(mcpRun.home, 0o555);

    const ran = mcpRun.run(["secrets", "set", "local:token"], {
      input: "canary-value",
      uid: NOBODY,
      cwd: "/",
    });

    expectRefusal(ran, 77, "EACCES");
    expect(mcpRun.filesWith("canary-value")).toEqual([]);
  });

  it("gets no empty value", () => {
    const ran = mcpRun.run(["secrets", "set", "local:token"], { input: "\n" });

    expectRefusal(ran, 64, "the value is empty");
    expect(mcpRun.has("data/local.age")).toBe(false);
  });

  it.each([
    [["secrets", "set", "token"], "colon"],
    [["secrets", "rm", "local:a#b"], "whole entry"],
    [["secrets", "set", "env:TOKEN"], "can't write"],
    [["secrets", "set", "nosuch:token"], "nosuch"],
    [["secrets", "generate", "local:x", "--bytes", "8"], "16"],
  ])("%j", (args, part) => {
    const ran = mcpRun.run(args, { input: "canary-value" });

    expect(ran.stderr).toContain(part);
    expect([64, 78]).toContain(ran.status);
    expect(mcpRun.has("data/local.age")).toBe(false);
  });
});

describe("a program that can't be started", () => {
  beforeEach(() => {
    mcpRun.profile("p", PROFILE);
    mcpRun.set("local:token", "canary-value");
  });

  it("is not found, and the searched PATH is named", () => {
    const ran = mcpRun.run(["exec", "p", "--", "no-such-program"]);

    expectRefusal(ran, 127, "no-such-program", "PATH");
  });

  it("is not found by its path", () => {
    expectRefusal(mcpRun.run(["exec", "p", "--", "./no-such-program"]), 127, "no-such-program");
  });

  it.runIf(process.platform !== "win32")("is not executable, and the chmod is named", () => {
    const file = mcpRun.write("program", "#!/bin/sh\n");

    expectRefusal(mcpRun.run(["exec", "p", "--", file]), 126, "chmod +x");
  });

  it("has a working directory that is missing", () => {
    mcpRun.profile("p", `${PROFILE}cwd: /no/such/folder\n`);

    expectRefusal(start(), 126, "/no/such/folder");
  });
});

describe("a command line that can't be parsed", () => {
  it.each([
    [["--no-such-option"]],
    [["exec", "p"]],
    [["secrets", "set"]],
    [["--log-level", "loud", "p"]],
    [["check", "--offline", "--start"]],
  ])("%j ends with 64 and one line", (args) => {
    mcpRun.profile("p", PROFILE);

    const ran = mcpRun.run(args);

    expect(ran.status).toBe(64);
    expect(ran.stderr).toMatch(/^mcp-run: Cannot /);
    expect(ran.stdout).toBe("");
  });
});

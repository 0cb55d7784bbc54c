import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import { findCommand } from "../../src/launch/find-command.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-find-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function script(name: string, text: string, mode = 0o755): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

function find(command: string, searchPath = folder, cwd = folder): string {
  return findCommand({ command, cwd, searchPath, platform: "linux" });
}

function failure(work: () => unknown): Pick<McpRunError, "code" | "message" | "hint" | "details"> {
  try {
    work();
  } catch (error) {
    if (error instanceof McpRunError) {
      const { code, message, hint, details } = error;
      return { code, message, hint, details };
    }
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe.skipIf(process.platform === "win32")("finding the command", () => {
  it("takes the first folder of PATH that has it, and an absolute path as it is", () => {
    const second = join(folder, "second");
    mkdirSync(second);
    const file = script("server", "#!/bin/sh\n");
    script("second/server", "#!/bin/sh\n");

    expect(find("server", `/nonexistent::${folder}:${second}`)).toBe(file);
    expect(find(file, "")).toBe(file);
  });

  it("takes a relative path from cwd, and follows links", () => {
    const file = script("server", "#!/bin/sh\n");
    symlinkSync(file, join(folder, "link"));

    expect(find("./server", "")).toBe(file);
    expect(find("./link", "")).toBe(join(folder, "link"));
  });

  it("passes over a file that can't be run if a later folder has one that can", () => {
    const second = join(folder, "second");
    mkdirSync(second);
    script("server", "", 0o644);
    const file = script("second/server", "#!/bin/sh\n");

    expect(find("server", `${folder}:${second}`)).toBe(file);
  });

  it("passes over a folder of PATH that can't be looked into", () => {
    symlinkSync("loop", join(folder, "loop"));
    const file = script("server", "#!/usr/bin/env server2\n");
    script("server2", "#!/bin/sh\n");

    expect(find("server", `${folder}/loop:${folder}`)).toBe(file);
  });

  it.skipIf(process.getuid?.() === 0)("passes over a folder of PATH that this user may not enter", () => {
    const shut = join(folder, "shut");
    mkdirSync(shut, { mode: 0o000 });
    const file = script("server", "#!/bin/sh\n");

    expect(find("server", `${shut}:${folder}`)).toBe(file);
  });

  it("passes a program that may be run but not read", () => {
    const file = script("server", "#!/bin/sh\n", 0o111);

    expect(find("server")).toBe(file);
  });
});

describe.skipIf(process.platform === "win32")("what is said when the command can't be started", () => {
  it("which PATH was searched, and what to do about it in a GUI client", () => {
    expect(failure(() => find("uvx", "/usr/none:/none"))).toEqual({
      code: "command-not-found",
      message: "Cannot start uvx: it is in no folder of PATH",
      hint: "the absolute path of uvx: apps that are not started from a terminal have a shorter PATH (`command -v uvx` in a terminal shows it)",
      details: ["PATH: /usr/none:/none"],
    });
  });

  it("that npx belongs to Node.js", () => {
    expect(failure(() => find("npx", "")).hint).toMatch(
      /^installing Node\.js with npm, or the absolute path of npx/,
    );
  });

  it("that arguments do not belong in the command", () => {
    expect(failure(() => find("npx -y some-server"))).toMatchObject({
      code: "command-not-found",
      hint: "`args:` for what follows the program's name",
    });
  });

  it("where a relative path was looked for", () => {
    expect(failure(() => find("./server")).message).toBe(
      `Cannot start ./server: there is no such file (looked for at ${folder}/server)`,
    );
  });

  it("the chmod for a file that is not executable", () => {
    const file = script("my server", "#!/bin/sh\n", 0o644);

    expect(failure(() => find(file))).toMatchObject({
      code: "command-not-executable",
      message: `Cannot start ${file}: ${file} is not executable`,
      hint: `chmod +x '${file}'`,
    });
  });

  it("that it is a directory", () => {
    mkdirSync(join(folder, "server"));

    expect(failure(() => find("./server")).message).toMatch(/is a directory$/);
  });

  it("that it, or its cwd, is out of reach, and not where PATH leads to no more than that", () => {
    symlinkSync("loop", join(folder, "loop"));

    expect(failure(() => find("./loop"))).toMatchObject({
      code: "command-not-executable",
      message: `Cannot start ./loop: ${folder}/loop is out of reach (ELOOP)`,
    });
    expect(failure(() => find("sh", "/bin", join(folder, "loop")))).toMatchObject({
      code: "command-not-executable",
      message: `Cannot start sh: its cwd ${folder}/loop is out of reach (ELOOP)`,
    });
    expect(failure(() => find("server", `${folder}/loop`))).toMatchObject({
      code: "command-not-found",
      message: "Cannot start server: it is in no folder of PATH",
    });
  });

  it.each([
    ["does not exist", "gone", (path: string) => `mkdir -p ${path}, or another \`cwd:\``],
    ["is not a directory", "file", () => "`cwd:` with a directory"],
  ])("that the cwd %s", (state, name, hint) => {
    script("file", "");
    const cwd = join(folder, name);

    expect(failure(() => find("sh", "/bin", cwd))).toMatchObject({
      code: "command-not-executable",
      message: `Cannot start sh: its cwd ${cwd} ${state}`,
      hint: hint(cwd),
    });
  });

  it("which interpreter of a script is missing", () => {
    const file = script("server", "#!/opt/none/python3 -u\n");

    expect(failure(() => find("server"))).toMatchObject({
      code: "command-not-found",
      message: `Cannot start server: ${file} needs /opt/none/python3, which is not there`,
    });
  });

  it("which program `env` will not find for a script", () => {
    const file = script("server", "#!/usr/bin/env no-such-runtime\n");

    expect(failure(() => find("server", folder)).message).toBe(
      `Cannot start server: ${file} needs no-such-runtime on PATH, which is not there`,
    );
  });

  it("that a script has the line ends of Windows", () => {
    const file = script("server", "#!/bin/sh\r\necho\r\n");

    expect(failure(() => find("server"))).toMatchObject({
      message: `Cannot start server: the first line of ${file} ends like a Windows line`,
      hint: `sed -i 's/\\r$//' ${file}`,
    });
  });
});

describe("finding the command on Windows", () => {
  it.skipIf(process.platform === "win32")("says which PATH was searched", () => {
    const search = { command: "npx", cwd: folder, searchPath: "C:\\a;C:\\b", platform: "win32" } as const;

    expect(failure(() => findCommand(search))).toMatchObject({
      code: "command-not-found",
      details: ["PATH: C:\\a;C:\\b"],
    });
  });
});

/** The cache of compiled code: it fills itself, is used, and never stands in the way of a start. */
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation } from "./helpers/installation.ts";

/** Without a command it is a server that is started. */
const COMMANDS = ["run", "schema"];

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

function cachedFiles(): string[] {
  return readdirSync(join(mcpRun.home, "cache/code"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

describe("the code cache", () => {
  it("is written at the first start, privately, and left alone by the next", () => {
    mcpRun.run(["--version"]);
    const [first] = cachedFiles();
    const before = statSync(first as string);

    const again = mcpRun.run(["--version"]);

    expect(again.status).toBe(0);
    expect(before.mode & 0o077).toBe(0);
    expect(statSync(first as string).mtimeMs).toBe(before.mtimeMs);
  });

  it("is kept apart for each command, which uses other functions of the same files", () => {
    mcpRun.run(["schema"]);
    mcpRun.run(["--version"]);

    const folders = cachedFiles().flatMap((file) =>
      file.split(sep).filter((name) => COMMANDS.includes(name)),
    );
    expect([...new Set(folders)].sort()).toEqual(COMMANDS);
  });

  it.runIf(!usesNodesOwn())("is not filled by a start that failed, which has used little", () => {
    const failed = mcpRun.run(["exec", "nowhere", "--", "true"]);

    expect(failed.status).toBe(66);
    expect(cachedFiles()).toEqual([]);
  });

  it("is not used when it is damaged: the start goes on, and the file is mended", () => {
    mcpRun.run(["--version"]);
    const [file] = cachedFiles();
    const good = readFileSync(file as string);
    const damaged = Buffer.from(good);
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] as number) ^ 0xff;
    writeFileSync(file as string, damaged);

    const ran = mcpRun.run(["--version"]);

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    if (!usesNodesOwn()) expect(readFileSync(file as string).equals(damaged)).toBe(false);
  });

  it.runIf(process.platform !== "win32")("is not used when others could have written to its folder", () => {
    mcpRun.run(["--version"]);
    const before = cachedFiles().map((file) => statSync(file).mtimeMs);
    chmodSync(join(mcpRun.home, "cache/code"), 0o777);
    for (const file of cachedFiles()) writeFileSync(file, "not code at all");

    const ran = mcpRun.run(["--version"]);

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(cachedFiles()).toHaveLength(before.length);
    expect(cachedFiles().every((file) => readFileSync(file, "utf8") === "not code at all")).toBe(true);
  });

  it("is done without where no folder can be made", () => {
    mcpRun.write("cache", "a file in its place");

    expect(mcpRun.run(["--version"])).toMatchObject({ status: 0, stderr: "" });
  });

  it("does not make a home that is not there", () => {
    const home = join(mcpRun.home, "nobody");

    const ran = mcpRun.run(["--version"], { env: { HOME: home, MCP_RUN_HOME: undefined } });

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(existsSync(home)).toBe(false);
  });

  it("holds no secret", () => {
    mcpRun.profile("p", "command: node\nsecrets: { TOKEN: local:token }\n");
    mcpRun.set("local:token", "canary-cached-code");
    mcpRun.run(["exec", "p", "--", "node", "-e", "0"]);

    expect(cachedFiles().length).toBeGreaterThan(3);
    expect(mcpRun.filesWith("canary-cached-code")).toEqual([]);
  });
});

/** Node 22.1 and later have a compile cache of their own, with its own way of mending it. */
function usesNodesOwn(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 1);
}

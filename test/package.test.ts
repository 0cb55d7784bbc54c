/** The package as a user gets it: packed, installed with `npm install -g`, and started by its bin. */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const IS_WINDOWS = process.platform === "win32";

let prefix = "";
let packed: { filename: string; files: { path: string }[] };

/** Not spawnSync: vitest takes a worker for dead that says nothing for a minute. */
async function npm(args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)("npm", [...args], { cwd: ROOT, shell: IS_WINDOWS });
  expect(stderr + stdout).not.toMatch(/^npm (error|ERR!)/m);
  return stdout;
}

/** Starts the installed bin with nothing around it but PATH and a home of its own. */
function mcpRun(args: readonly string[], input = "") {
  const bin = IS_WINDOWS ? join(prefix, "mcp-run.cmd") : join(prefix, "bin", "mcp-run");
  const env = {
    PATH: process.env.PATH,
    HOME: prefix,
    MCP_RUN_HOME: join(prefix, "home"),
    MCP_RUN_KEYCHAIN: "off",
  };
  return spawnSync(bin, [...args], { env, input, encoding: "utf8", shell: IS_WINDOWS });
}

beforeAll(async () => {
  prefix = mkdtempSync(join(tmpdir(), "mcp-run-package-"));
  // Without the scripts: the build would replace dist/ under the feet of the other tests; it has just been made.
  [packed] = JSON.parse(await npm(["pack", "--json", "--ignore-scripts", "--pack-destination", prefix]));
  await npm([
    "install",
    "--global",
    "--prefix",
    prefix,
    "--no-audit",
    "--no-fund",
    join(prefix, packed.filename),
  ]);
}, 300_000);

afterAll(() => rmSync(prefix, { recursive: true, force: true }));

describe("the installed package", () => {
  it("holds the program, the profiles and the docs, and no source or tests", () => {
    const paths = packed.files.map(({ path }) => path);

    expect(paths).toContain("dist/main.cjs");
    expect(paths).toContain("profiles/github.yaml");
    expect(paths).toContain("mcp-run.example.yaml");
    expect(paths.filter((path) => /^(src|test|providers|bench)\//.test(path))).toEqual([]);
  });

  it("prints its version", () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

    expect(mcpRun(["--version"])).toMatchObject({ status: 0, stdout: `${version}\n` });
  });

  it("finds its ready-made profiles", () => {
    expect(mcpRun(["init"]).stdout).toMatch(/^github\s+GitHub/m);
  });

  it("stores a secret and starts a program with it", () => {
    mkdirSync(join(prefix, "home", "config", "profiles"), { recursive: true, mode: 0o700 });
    const profile = join(prefix, "home", "config", "profiles", "p.yaml");
    writeFileSync(profile, "command: node\nsecrets: { TOKEN: local:token }\n", { mode: 0o600 });
    expect(mcpRun(["secrets", "set", "local:token"], "canary-package")).toMatchObject({ status: 0 });

    const ran = mcpRun(["exec", "p", "--", "node", "-p", "process.env.TOKEN.length"]);

    expect(ran).toMatchObject({ status: 0, stdout: "14\n" });
  });
});

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { McpRunError } from "../../src/errors.ts";
import type { ExitStatus } from "../../src/launch/exit-status.ts";
import { type LaunchPlan, spawnProgram } from "../../src/launch/spawn.ts";

const folder = mkdtempSync(join(tmpdir(), "mcp-run-spawn-"));
afterAll(() => rmSync(folder, { recursive: true }));

const REPORT = `
  const { NODE_CHANNEL_FD, ...env } = process.env;
  console.log(JSON.stringify({ args: process.argv.slice(1), env, cwd: process.cwd(), argv0: process.argv0 }));
`;

interface Report {
  readonly args: string[];
  readonly env: Record<string, string>;
  readonly cwd: string;
  readonly argv0: string;
}

function planFor(changes: Partial<LaunchPlan>): LaunchPlan {
  return {
    command: process.execPath,
    args: ["-e", REPORT, "--"],
    cwd: folder,
    env: {},
    searchPath: "/usr/bin:/bin",
    secretNames: new Set(),
    ...changes,
  };
}

async function run(plan: LaunchPlan): Promise<{ status: ExitStatus; out: string }> {
  const stdio = ["pipe", "pipe", "pipe"] as const;
  const program = await spawnProgram(plan, { platform: process.platform, ownGroup: true, stdio });
  const chunks: Buffer[] = [];
  program.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  program.stderr?.resume();
  const closed = new Promise((resolve) => program.stdout?.once("close", resolve));
  const status = await new Promise<ExitStatus>((resolve) => program.onExit(resolve));
  await closed;
  return { status, out: Buffer.concat(chunks).toString() };
}

async function report(changes: Partial<LaunchPlan>): Promise<Report> {
  return JSON.parse((await run(planFor(changes))).out) as Report;
}

const ODD_TEXTS = [
  ["blanks", " a  b "],
  ["a single quote", "it's"],
  ["double quotes", '"a" "b"'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell would expand this, and must not see it
  ["a dollar and braces", "$HOME ${HOME} $(id) `id`"],
  ["backslashes", "C:\\dir\\ \\\\ \\n"],
  ["newlines", "one\ntwo\r\nthree\n"],
  ["a tab", "a\tb"],
  ["emoji", "🔑 schlüssel 钥匙"],
  ["nothing", ""],
  ["a glob", "* ? [a-z] ~"],
  ["operators", "a; b && c | d > e # f"],
  ["a percent sign and a caret", "%PATH% ^ !x!"],
  ["an option", "--help=x"],
  ["a brace that is no template", "{{ NAME }}"],
] as const;

describe("a program gets, byte for byte,", () => {
  it("its arguments, whatever is in them", async () => {
    const texts = ODD_TEXTS.map(([, text]) => text);

    expect((await report({ args: ["-e", REPORT, "--", ...texts] })).args).toEqual(texts);
  });

  it("its environment, whatever is in it, and nothing else", async () => {
    const env = Object.fromEntries(ODD_TEXTS.map(([, text], index) => [`V${index}`, text]));

    expect((await report({ env })).env).toEqual(env);
  });

  it("its cwd, and the name by which it was called", async () => {
    const { cwd, argv0 } = await report({ command: "node", searchPath: join(process.execPath, "..") });

    expect(cwd).toBe(folder);
    expect(argv0).toBe("node");
  });

  it("a long secret, just below the platform's bound", async () => {
    const TOKEN = `canary-${"x".repeat(131_000)}`;

    expect((await report({ env: { TOKEN }, secretNames: new Set(["TOKEN"]) })).env).toEqual({ TOKEN });
  });
});

describe("spawning", () => {
  it.skipIf(process.platform === "win32")("gives the program a group and session of its own", async () => {
    const { out } = await run(
      planFor({ command: "/bin/sh", args: ["-c", "ps -o pid= -o pgid= -o sess= -p $$"] }),
    );

    const [pid, group, session] = out.trim().split(/\s+/);
    expect([group, session]).toEqual([pid, pid]);
  });

  it.skipIf(process.platform === "win32")("starts a script without a first line, as shells do", async () => {
    const file = join(folder, "plain");
    writeFileSync(file, "echo plain\n");
    chmodSync(file, 0o755);

    expect((await run(planFor({ command: file, args: [] }))).out).toBe("plain\n");
  });

  it("starts nothing if a secret does not fit, and does not show it", async () => {
    const plan = planFor({ env: { TOKEN: "canary-4f\0" }, secretNames: new Set(["TOKEN"]) });

    const error = await run(plan).catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(McpRunError);
    expect(error).toMatchObject({ code: "secret-invalid" });
    expect(String(error)).not.toContain("canary");
  });

  it("starts nothing if a secret has a dangerous name", async () => {
    const plan = planFor({ env: { NODE_OPTIONS: "canary-4f" }, secretNames: new Set(["NODE_OPTIONS"]) });

    await expect(run(plan)).rejects.toMatchObject({ code: "secret-invalid" });
  });

  it.skipIf(process.platform === "win32")(
    "says what the system said where it could not be foreseen",
    async () => {
      const file = join(folder, "odd");
      writeFileSync(file, "#!/tmp\n");
      chmodSync(file, 0o755);

      await expect(run(planFor({ command: file, args: [] }))).rejects.toMatchObject({
        code: "command-not-executable",
        message: `Cannot start ${file}: EACCES`,
      });
    },
  );
});

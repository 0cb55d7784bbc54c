/** The commands around a start: what they print, and that they lead on to the next step. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants as fsConstants,
  openSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { RESERVED_PROFILE_NAMES } from "../../src/profile/reserved-names.ts";
import { Installation, MAIN, ROOT } from "../helpers/installation.ts";
import { until } from "../helpers/processes.ts";

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

describe("mcp-run alone", () => {
  it("leads to the ready-made profiles on a machine without any", () => {
    const ran = mcpRun.run([]);

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(ran.stdout).toContain("mcp-run init github");
  });

  it("lists the profiles of the machine, and shows what a client's config has to hold", () => {
    mcpRun.profile("github", "description: GitHub\ncommand: node\nsecrets: { T: local:t }\n");

    const { stdout } = mcpRun.run([]);

    expect(stdout).toMatch(/github\s+GitHub/);
    const snippet = JSON.parse(stdout.slice(stdout.indexOf("{"))) as {
      mcpServers: { github: { args: string[] } };
    };
    expect(snippet.mcpServers.github).toEqual({ command: process.execPath, args: [MAIN, "github"] });
  });
});

describe("help", () => {
  const commands = ["run", "exec", "check", "secrets", "audit", "init", "schema"];

  it.each(commands)("of %s has an example", (command) => {
    const { stdout, status } = mcpRun.run([command, "--help"]);

    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples:\\n  mcp-run (${command}|github)`));
  });

  it("lists every command, and no profile can have the name of one", () => {
    const { stdout } = mcpRun.run(["--help"]);

    for (const command of commands) {
      expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
      expect(RESERVED_PROFILE_NAMES).toContain(command);
    }
    expect(RESERVED_PROFILE_NAMES).toContain("help");
  });

  it("survives a reader that goes early", () => {
    const ran = spawnSync("/bin/sh", ["-c", `"${process.execPath}" "${MAIN}" schema | head -n 1`], {
      env: mcpRun.env,
      encoding: "utf8",
    });

    expect(ran.stderr).toBe("");
  });
});

describe("mcp-run init", () => {
  it.each(["github", "context7", "everything"])(
    "writes the profile %s, which check then accepts",
    (template) => {
      const init = mcpRun.run(["init", template]);
      const [ref] = /local:[\w-]+/.exec(init.stdout) ?? [];
      mcpRun.set(ref as string, "canary-init-value");

      const check = mcpRun.run(["check", template]);

      expect(init.status).toBe(0);
      expect(check).toMatchObject({ status: 0, stderr: "" });
    },
  );

  it("does not overwrite, and knows what was meant", () => {
    mcpRun.run(["init", "github"]);

    expect(mcpRun.run(["init", "github"])).toMatchObject({ status: 64 });
    expect(mcpRun.run(["init", "gihtub"]).stderr).toContain("Try mcp-run init github;");
    expect(mcpRun.run(["init", "jira"]).stderr).toContain("mcp-run init github --name jira");
    expect(mcpRun.run(["init", "github", "--name", "check"]).stderr).toContain("it is a command");
    expect(mcpRun.run(["init", "github", "--name", "work"])).toMatchObject({ status: 0 });
  });

  it.runIf(process.platform === "linux")("leaves nothing behind where there is no room for the file", () => {
    mcpRun.write("config/profiles/other.yaml", "command: node\n");
    const limited = `ulimit -f 0; exec "${process.execPath}" "${MAIN}" init github`;

    const ran = spawnSync("/bin/sh", ["-c", limited], { env: mcpRun.env, encoding: "utf8" });

    expect(ran.stderr).toMatch(/^mcp-run: Cannot write .*github\.yaml: EFBIG\. Try /);
    expect(ran).toMatchObject({ status: 77, stdout: "" });
    expect(mcpRun.has("config/profiles/github.yaml")).toBe(false);
  });

  it.each(["a/b", "team.yaml", "x".repeat(65)])("takes no name that no profile can have: %s", (name) => {
    const ran = mcpRun.run(["init", "github", "--name", name]);

    expect(ran).toMatchObject({ status: 64, stdout: "" });
    expect(ran.stderr).toMatch(/^mcp-run: Cannot name a profile .*Try --name with another one\.\n$/);
    expect(mcpRun.has("config")).toBe(false);
  });
});

describe("the ready-made profiles", () => {
  it.each([
    ["github", /github-mcp-server .* 26 tools/],
    ["context7", /Context7/i],
    ["everything", /everything/],
  ])("start the real server: %s", (template, greeting) => {
    // npx, in the home that the profile names, finds the package that the tests have installed: no download.
    symlinkSync(join(ROOT, "node_modules"), join(mcpRun.home, "node_modules"), "junction");
    const [ref] = /local:[\w-]+/.exec(mcpRun.run(["init", template]).stdout) ?? [];
    mcpRun.set(ref as string, "canary-template-value");
    const file = `config/profiles/${template}.yaml`;
    // GitHub's would ask GitHub.
    if (template === "github")
      mcpRun.write(
        file,
        mcpRun
          .read(file)
          .toString()
          .replace(/^probe: .*$/m, ""),
      );

    const ran = mcpRun.run(["check", "--start", template]);

    expect(ran.stdout).toMatch(greeting);
    expect(ran).toMatchObject({ status: 0, stderr: "" });
  });
});

describe("mcp-run check", () => {
  it("warns of a package runner that a repository could lead astray", () => {
    const body = 'args: ["-y", "x@1.0.0"]\nsecrets: { T: local:t }\n';
    mcpRun.profile("risky", `command: npx\n${body}`);
    mcpRun.profile("safe", `command: npx\ncwd: ~/\n${body}`);

    const ran = mcpRun.run(["check", "--offline"]);

    expect(ran.stdout).toMatch(/risky.*\n {2}! npx obeys .*Try `cwd: ~\/` in the profile/);
    expect(ran.stdout).not.toMatch(/safe.*\n {2}!/);
  });

  const PROFILE = (server: string) =>
    `command: node\nargs: [${JSON.stringify(join(ROOT, "node_modules", server))}]\nsecrets: { T: local:t }\n`;

  it.each([
    ["@modelcontextprotocol/server-everything/dist/index.js", /everything/],
    ["@modelcontextprotocol/server-github/dist/index.js", /github-mcp-server .* speaks 2024-11-05/],
    ["@upstash/context7-mcp/dist/index.js", /Context7/i],
  ])("--start starts %s, shakes hands and times it", (server, greeting) => {
    mcpRun.profile("p", PROFILE(server));
    mcpRun.set("local:t", "canary-check-value");

    const ran = mcpRun.run(["check", "--start", "p"]);

    expect(ran.stdout).toMatch(greeting);
    expect(ran.stdout).toMatch(/\d+ tools, ready after \d+\.\d s/);
    expect(ran.stdout + ran.stderr).not.toContain("canary-");
    expect(ran.status).toBe(0);
  });

  it("--start shows the last lines of a server that does not come up, scrubbed", () => {
    mcpRun.profile(
      "p",
      `command: node\nargs: ["-e", "console.error('no way: ' + process.env.T); process.exit(9)"]\nsecrets: { T: local:t }\n`,
    );
    mcpRun.set("local:t", "canary-check-value");

    const ran = mcpRun.run(["check", "--start", "p"]);

    expect(ran.stdout).toContain("no way: [mcp-run:T]");
    expect(ran.stdout).toContain("exit code 9");
    expect(ran.status).toBe(69);
  });

  it("--start gives the exit code of a server that ends without a word", () => {
    mcpRun.profile("p", 'command: node\nargs: ["-e", "process.exit(9)"]\n');

    const ran = mcpRun.run(["check", "--start", "p"]);

    expect(ran.stdout).toContain("the server ended with exit code 9 and said nothing on stderr");
    expect(ran).toMatchObject({ status: 69, stderr: "" });
  });

  it("--start says of a command that is not there what a start would say", () => {
    mcpRun.profile("p", "command: no-such-server\n");

    const ran = mcpRun.run(["check", "--start", "p"]);

    expect(ran.stdout).toContain("Cannot start no-such-server: it is in no folder of PATH");
    expect(ran).toMatchObject({ status: 127, stderr: "" });
  });

  it.each([
    [
      "its name",
      "result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: process.env.T } }",
    ],
    ["its refusal", "error: { code: -32000, message: 'bad key ' + process.env.T }"],
  ])("--start shows no secret that the server puts into %s", (_, answer) => {
    const server = `
      require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
        const { id } = JSON.parse(line);
        if (id !== undefined) console.log(JSON.stringify({ jsonrpc: "2.0", id, ${answer} }));
      });`;
    mcpRun.profile("p", `command: node\nargs: ["-e", ${JSON.stringify(server)}]\nsecrets: { T: local:t }\n`);
    mcpRun.set("local:t", "canary-check-value");

    const text = mcpRun.run(["check", "--start", "p"]);
    const json = mcpRun.run(["check", "--start", "--json", "p"]);

    for (const { stdout } of [text, json]) {
      expect(stdout).toContain("[mcp-run:T]");
      expect(stdout).not.toContain("canary-");
    }
  });

  it("warns of a secret that is older than its maxAge", () => {
    const [old, fresh] = ["old", "fresh"].map((name) => mcpRun.write(name, `canary-${name}-value`));
    for (const file of [old, fresh]) chmodSync(file as string, 0o600);
    const daysAgo = Date.now() / 1000 - 100 * 86_400;
    utimesSync(old as string, daysAgo, daysAgo);
    mcpRun.profile(
      "p",
      `command: node
secrets:
  OLD: { from: "file:${old}", maxAge: 90d }
  FRESH: { from: "file:${fresh}", maxAge: 90d }
  ANY: { from: "file:${old}" }
`,
    );

    const { stdout, status } = mcpRun.run(["check", "p"]);

    expect(status).toBe(0);
    expect(stdout.match(/^ {2}! .*$/gm)).toEqual([
      "  ! OLD is 100d old, and its `maxAge` is 90d. Try a new value for it.",
    ]);
  });

  it("names each secret with what to do, and as JSON the same without a value", () => {
    mcpRun.profile("p", "command: node\nsecrets: { T: local:t, GONE: local:gone, SHORT: local:short }\n");
    mcpRun.set("local:t", "canary-check-value");
    mcpRun.set("local:short", "abc");

    const text = mcpRun.run(["check", "p"]);
    const json = mcpRun.run(["check", "--json", "p"]);

    expect(text.stdout).toMatch(/✔ T from local:t/);
    expect(text.stdout).toMatch(/✘ GONE from local:gone: .*Try .*mcp-run secrets set local:gone/);
    expect(text.stdout).toMatch(/! SHORT is too short to be scrubbed/);
    expect(json.stdout).not.toContain("canary-");
    const { ok, profiles } = JSON.parse(json.stdout) as {
      ok: boolean;
      profiles: { secrets: { name: string; ok: boolean }[] }[];
    };
    expect(ok).toBe(false);
    expect(profiles[0]?.secrets.map(({ name, ok: had }) => [name, had]).sort()).toEqual([
      ["GONE", false],
      ["SHORT", true],
      ["T", true],
    ]);
    expect([text.status, json.status]).toEqual([78, 78]);
  });

  it("--offline asks no backend", () => {
    mcpRun.profile("p", "command: node\nsecrets: { GONE: local:gone }\n");

    expect(mcpRun.run(["check", "--offline", "p"])).toMatchObject({ status: 0 });
  });

  it("checks every profile when none is named, and goes on after a broken one", () => {
    mcpRun.profile("a", "command: node\nsecrecy: 1\n");
    mcpRun.profile("b", "command: node\nsecrets: { T: local:t }\n");
    mcpRun.set("local:t", "canary-check-value");

    const ran = mcpRun.run(["check"]);

    expect(ran.stdout).toMatch(/✘ a/);
    expect(ran.stdout).toMatch(/✔ b/);
    expect(ran.status).toBe(78);
  });

  it("accepts the example, offline, as it stands in the README", () => {
    const ran = mcpRun.run(["--config", join(ROOT, "mcp-run.example.yaml"), "check", "--offline"], {
      env: { GITHUB_API_URL: undefined },
    });

    expect(ran.stdout).not.toContain("✘");
    expect(ran.status).toBe(0);
  });
});

describe("mcp-run schema", () => {
  it("prints what is committed", () => {
    const committed = readFileSync(join(ROOT, "docs/mcp-run.schema.json"), "utf8");

    expect(JSON.parse(mcpRun.run(["schema"]).stdout)).toEqual(JSON.parse(committed));
  });

  it.runIf(process.platform === "linux").each(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const)(
    "does not end with 0 by %s while nobody has read it",
    async (signal) => {
      const pipe = fullPipe();
      const printing = spawn(process.execPath, [MAIN, "schema"], {
        env: mcpRun.env,
        stdio: ["ignore", pipe, "ignore"],
      });
      const status = new Promise((resolve) => printing.once("exit", resolve));
      onTestFinished(() => void printing.kill("SIGKILL"));
      // It does so only once all is printed.
      await until("it listens for signals", () => catchesSignals(printing.pid as number));

      printing.kill(signal);

      expect(await status).toBe(128 + constants.signals[signal]);
    },
  );
});

describe("mcp-run secrets", () => {
  it("alone shows its help", () => {
    const ran = mcpRun.run(["secrets"]);

    expect(ran.status).toBe(64);
    expect(ran.stderr).toMatch(/^Usage: mcp-run secrets /);
    expect(ran.stderr).toContain("\n  mcp-run secrets set local:github-token\n");
  });

  it.runIf(process.platform === "linux").each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "set that waits for a value is ended by %s",
    async (signal) => {
      const waiting = spawn(process.execPath, [MAIN, "secrets", "set", "local:t"], { env: mcpRun.env });
      const status = new Promise((resolve) => waiting.once("exit", resolve));
      await until("it listens for signals", () => catchesSignals(waiting.pid as number));

      waiting.kill(signal);

      expect(await status).toBe(128 + constants.signals[signal]);
      expect(mcpRun.has("data/local.age")).toBe(false);
    },
  );

  it("keeps, shows only with --reveal, lists, generates and removes", () => {
    mcpRun.set("local:a/b", "canary-kept\nsecond line");

    const plain = mcpRun.run(["secrets", "get", "local:a/b"]);
    const revealed = mcpRun.run(["secrets", "get", "--reveal", "local:a/b"]);
    const generated = mcpRun.run(["secrets", "generate", "local:key", "--encoding", "hex"]);
    const again = mcpRun.run(["secrets", "generate", "local:key"]);
    const list = mcpRun.run(["secrets", "list"]);
    const removed = mcpRun.run(["secrets", "rm", "local:a/b"]);
    const gone = mcpRun.run(["secrets", "rm", "local:a/b"]);

    expect(plain.stdout).not.toContain("canary-");
    expect(plain.status).toBe(0);
    expect(revealed.stdout).toBe("canary-kept\nsecond line");
    expect(generated).toMatchObject({ status: 0, stdout: "" });
    expect(mcpRun.run(["secrets", "get", "--reveal", "local:key"]).stdout).toMatch(/^[0-9a-f]{64}$/);
    expect(again).toMatchObject({ status: 64 });
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`;
    expect(list.stdout).toMatch(
      new RegExp(`^REF +VERSION +UPDATED\nlocal:a/b +v\\w+ +${time}\nlocal:key +v\\w+ +${time}\n$`),
    );
    expect([removed.status, gone.status]).toEqual([0, 78]);
  });

  it("lets a second person read after their key was added, and lists what to rotate at a rekey", () => {
    const other = new Installation();
    mcpRun.set("local:shared", "canary-shared");
    other.set("local:mine", "canary-mine");
    const key = /age1\w+/.exec(other.run(["secrets", "recipients"]).stdout)?.[0] as string;

    const added = mcpRun.run(["secrets", "recipients", "add", key, "--label", "colleague"]);
    other.write("data/local.age", mcpRun.read("data/local.age"));
    const read = other.run(["secrets", "get", "--reveal", "local:shared"]);
    const rekeyed = mcpRun.run(["secrets", "rekey"]);
    other.remove();

    expect(added.status).toBe(0);
    expect(read.stdout).toBe("canary-shared");
    expect(rekeyed.stderr).toContain("local:shared");
    expect(mcpRun.run(["secrets", "get", "--reveal", "local:shared"]).stdout).toBe("canary-shared");
  });

  it("never repeats a secret key that was given for a public one", () => {
    mcpRun.set("local:x", "canary-x");
    const secretKey = /AGE-SECRET-KEY-\w+/.exec(
      mcpRun.read("config/local.identity").toString(),
    )?.[0] as string;

    const ran = mcpRun.run(["--log-level", "debug", "secrets", "recipients", "add", secretKey]);

    expect(ran.status).not.toBe(0);
    expect(ran.stderr + ran.stdout).not.toContain(secretKey);
  });
});

/** The descriptor of one that takes nothing more, and that nobody reads. */
function fullPipe(): number {
  const path = join(mcpRun.home, "pipe");
  execFileSync("mkfifo", [path]);
  const pipe = openSync(path, fsConstants.O_RDWR | fsConstants.O_NONBLOCK);
  onTestFinished(() => closeSync(pipe));
  try {
    for (;;) writeSync(pipe, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  }
  return pipe;
}

/** By /proc/PID/status, where the caught signals are bits. QUIT is the last that mcp-run asks for; Node itself does not. */
function catchesSignals(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${caught}`) & (1n << BigInt(constants.signals.SIGQUIT - 1))) !== 0n;
}

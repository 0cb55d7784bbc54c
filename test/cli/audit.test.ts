/** What is written down of a program, through the built mcp-run, and the commands that read it. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, isWithinReachOf, MAIN, type Ran } from "../helpers/installation.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";
import { ProgramTransport } from "../helpers/program-transport.ts";

const KEYED_SERVER = join(import.meta.dirname, "../helpers/servers/keyed.mjs");
const NOTHING = ["--", process.execPath, "-e", "0"];

let mcpRun: Installation;

beforeEach(() => {
  mcpRun = new Installation();
});

afterEach(() => mcpRun.remove());

const folder = () => join(mcpRun.home, "state/audit");
const files = () => readdirSync(folder()).sort();
/** How many processes have written. One that is at work at midnight (UTC) has two files. */
const writers = () => new Set(files().map((name) => name.split("-").at(-2))).size;

function exec(profile: string, env: Record<string, string> = { TT: "canary-one" }): Ran {
  return mcpRun.run(["exec", profile, ...NOTHING], { env });
}

function simpleProfile(name = "p"): void {
  mcpRun.profile(name, "command: node\nsecrets: { TOKEN: env:TT }\n");
}

function records(...options: readonly string[]): readonly Record<string, unknown>[] {
  const { stdout, status } = mcpRun.run(["audit", ...options, "--json"]);
  expect(status).toBe(0);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

function printOf(record: Record<string, unknown> | undefined): string {
  const [first] = (record?.secrets ?? []) as readonly { readonly fingerprint: string }[];
  expect(first?.fingerprint).toMatch(/^[0-9a-f]{32}$/);
  return first?.fingerprint ?? "";
}

describe("exec", () => {
  it("writes down its launch and its end, with refs and fingerprints and without a value", () => {
    simpleProfile();
    exec("p");
    exec("p");
    exec("p", { TT: "canary-two" });

    const found = records();
    expect(found.map(({ event }) => event)).toEqual(["launch", "end", "launch", "end", "launch", "end"]);
    expect(found[0]).toMatchObject({
      profile: "p",
      mode: "exec",
      program: "node",
      generation: 1,
      secrets: [{ name: "TOKEN", from: "env:TT", fingerprint: expect.stringMatching(/^[0-9a-f]{32}$/) }],
    });
    const prints = found.flatMap(({ secrets }) => (secrets as { fingerprint: string }[] | undefined) ?? []);
    expect(new Set(prints.map(({ fingerprint }) => fingerprint)).size).toBe(2);
    expect(mcpRun.filesWith("canary")).toEqual([]);
  });

  it("writes down the exit code of its program", () => {
    simpleProfile();
    mcpRun.run(["exec", "p", "--", process.execPath, "-e", "process.exit(7)"], { env: { TT: "canary-one" } });

    expect(records("--event", "end")).toMatchObject([{ profile: "p", exitCode: 7 }]);
  });

  it("writes down that it was denied", () => {
    simpleProfile();
    chmodSync(join(mcpRun.home, "config/profiles/p.yaml"), 0o666);

    expect(exec("p").status).toBe(77);
    expect(records()).toMatchObject([
      { event: "denied", profile: "p", during: "start", reason: expect.stringContaining("p.yaml") },
    ]);
  });

  it("warns once of an audit that it can't write, and does its work", () => {
    simpleProfile();
    mkdirSync(join(mcpRun.home, "state"), { mode: 0o700 });
    writeFileSync(folder(), "");

    const { status, stderr } = exec("p");

    expect(status).toBe(0);
    expect(stderr.match(/Cannot write the audit/g)).toHaveLength(1);
    expect(stderr).toContain(
      `Warning: Cannot write the audit to ${folder()}: it is not a directory. Try rm `,
    );
  });

  it.runIf(process.getuid?.() === 0)(
    "warns of a folder without write permission, and does its work",
    (test) => {
      if (!isWithinReachOf(64_999)) test.skip("another user may not enter this checkout");
      simpleProfile();
      mcpRun.write("state/audit/x", "");
      mcpRun.giveTo(64_999);
      chmodSync(folder(), 0o500);

      const ran = mcpRun.run(["exec", "p", ...NOTHING], { uid: 64_999, env: { TT: "canary-one" } });

      expect(ran.status).toBe(0);
      expect(ran.stderr.match(/Cannot write the audit to [^ ]*: EACCES/g)).toHaveLength(1);
    },
  );

  it("warns of a disk that is full, leaves nothing half written, and does its work", (test) => {
    simpleProfile();
    mkdirSync(folder(), { recursive: true, mode: 0o700 });
    // In a namespace of its own, so that nothing stays mounted.
    const inNamespace = (script: string) =>
      spawnSync("unshare", ["-m", "/bin/sh", "-c", script], {
        env: { ...mcpRun.env, TT: "canary-one", AUDIT: folder(), NODE: process.execPath, MAIN },
        encoding: "utf8",
      });
    const mount =
      'mount -t tmpfs -o size=4k,mode=700 tmpfs "$AUDIT" && head -c 4096 /dev/zero > "$AUDIT/full"';
    if (inNamespace(mount).status !== 0) test.skip("this process may not mount a tmpfs");

    const ran = inNamespace(`${mount} && "$NODE" "$MAIN" exec p -- echo served && ls "$AUDIT"`);

    expect(ran).toMatchObject({ status: 0, stdout: "served\nfull\n" });
    expect(ran.stderr.match(/Cannot write the audit to [^ ]*: ENOSPC. Try making room/g)).toHaveLength(1);
  });

  it("makes no home for it, and does not mention that", () => {
    simpleProfile();
    const home = join(mcpRun.home, "absent");
    const profile = join(mcpRun.home, "config/profiles/p.yaml");

    const ran = mcpRun.run(["exec", profile, ...NOTHING], {
      env: { HOME: home, MCP_RUN_HOME: undefined, TT: "canary-one" },
    });

    expect(ran.status).toBe(0);
    expect(ran.stderr).not.toContain("audit");
    expect(mcpRun.has("absent")).toBe(false);
  });

  it("races with nobody: twenty at once leave twenty files that are valid", async () => {
    simpleProfile();
    const env = { ...mcpRun.env, TT: "canary-one" };
    const processes = Array.from({ length: 20 }, () =>
      spawn(process.execPath, [MAIN, "exec", "p", ...NOTHING], { env, stdio: "ignore" }),
    );
    const ended = await Promise.all(processes.map((one) => once(one, "close")));

    expect(new Set(ended.map(([code]) => code))).toEqual(new Set([0]));
    expect(writers()).toBe(20);
    const verified = mcpRun.run(["audit", "verify"]);
    expect(verified).toMatchObject({ status: 0 });
    expect(verified.stdout).toContain(`✔ ${files().length} files, 40 records: all is as it was written\n`);
  }, 180_000);
});

describe("a start that fails", () => {
  it("is written down with its reason, and of a profile that is not valid with its name", () => {
    mcpRun.profile("broken", "command: node\nenv: { API_KEY: canary-0123456789abcdef }\n");
    mcpRun.profile("absent", "command: node\nsecrets: { TOKEN: env:NO_SUCH_VARIABLE }\n");
    mcpRun.profile("gone", "command: /nonexistent/server\n");
    for (const name of ["broken", "absent", "gone", "typo"]) exec(name);
    mcpRun.run(["gone"]);

    expect(records()).toMatchObject([
      { event: "start-failed", profile: "broken", code: "profile-invalid" },
      {
        event: "start-failed",
        profile: "absent",
        code: "secret-invalid",
        reason: expect.stringMatching(/TOKEN/),
      },
      { event: "launch", profile: "gone" },
      { event: "end", profile: "gone" },
      { event: "start-failed", profile: "gone", code: "command-not-found" },
    ]);
    expect(mcpRun.run(["audit"]).stdout).not.toContain("canary");
    expect(writers()).toBe(4);
  });
});

describe("what a person does with secrets", () => {
  it("is written down: what was stored, printed and removed, and no value", () => {
    mcpRun.set("local:a", "canary-one");
    mcpRun.run(["secrets", "generate", "local:b"]);
    mcpRun.run(["secrets", "get", "local:a"]);
    mcpRun.run(["secrets", "get", "local:a", "--reveal"]);
    mcpRun.run(["secrets", "rm", "local:a"]);

    const found = records();
    const of = (ref: string) => [expect.objectContaining({ name: ref, from: ref })];
    expect(found).toMatchObject([
      { event: "write", how: "set", secrets: of("local:a") },
      { event: "write", how: "generated", secrets: of("local:b") },
      { event: "reveal", secrets: of("local:a") },
      { event: "remove", secrets: of("local:a") },
    ]);
    expect(printOf(found[2])).toBe(printOf(found[0]));
    expect(mcpRun.run(["audit", "verify"]).status).toBe(0);
    const text = files().map((name) => readFileSync(join(folder(), name), "utf8"));
    expect(text.join()).not.toContain("canary");
  });

  it("is done, with a warning, where it can't be written down", () => {
    mcpRun.set("local:a", "canary-one");
    rmSync(folder(), { recursive: true });
    writeFileSync(folder(), "");

    const { status, stdout, stderr } = mcpRun.run(["secrets", "get", "local:a", "--reveal"]);

    expect([status, stdout]).toEqual([0, "canary-one"]);
    expect(stderr).toContain("Warning: Cannot write the audit");
  });
});

describe("check", () => {
  it("writes down who was refused", () => {
    const secret = mcpRun.write("secrets/key", "canary-one");
    chmodSync(secret, 0o644);
    mcpRun.profile("p", `command: node\nsecrets: { KEY: 'file:${secret}' }\n`);

    const { status } = mcpRun.run(["check", "p"]);

    expect(status).toBe(77);
    expect(records()).toMatchObject([
      { event: "denied", profile: "p", during: "check", reason: expect.stringContaining(secret) },
    ]);
  });
});

describe("run", () => {
  const pids = new Set<number>();
  let client: Client;
  let log = "";

  afterEach(async () => {
    await client.close();
    await until("nothing is left", () => ![...pids].some(isAlive)).catch((error) => {
      killAll(pids);
      throw error;
    });
    pids.clear();
  });

  /** A session with the keyed server, whose secret is in a file. */
  async function serving(keys: string): Promise<{ readonly pid: number; readonly secretFile: string }> {
    const secretFile = mcpRun.write("secrets/key", "canary-one");
    mcpRun.profile(
      "p",
      `command: node\nargs: [${JSON.stringify(KEYED_SERVER)}]\n${keys.replaceAll("SECRET_FILE", secretFile)}\n`,
    );
    log = "";
    const transport = new ProgramTransport({
      command: process.execPath,
      args: [MAIN, "p"],
      env: mcpRun.env,
    });
    transport.stderr.on("data", (chunk) => {
      log += chunk;
    });
    client = new Client({ name: "test", version: "1.0.0" });
    await client.connect(transport);
    const pid = transport.pid;
    pids.add(pid);
    return { pid, secretFile };
  }

  async function key(): Promise<{ readonly pid: number }> {
    const { content } = (await client.callTool({ name: "key" })) as { content: { text: string }[] };
    const told = JSON.parse(content[0]?.text ?? "");
    pids.add(told.pid);
    return told;
  }

  const happened = (count: number, ...events: readonly string[]) =>
    until(`${events} are written`, () => {
      const lines = files().flatMap((name) => readFileSync(join(folder(), name), "utf8").split("\n"));
      return events.every(
        (event) => lines.filter((line) => line.includes(`"event":"${event}"`)).length === count,
      );
    });

  it("writes down a launch, a swap, a failed look, a leak, a restart and the end, and no value", async () => {
    const { pid, secretFile } = await serving("secrets: { KEY: 'file:SECRET_FILE' }");
    await happened(1, "launch");
    await key();
    await happened(1, "leak");
    writeFileSync(secretFile, "canary-two");
    process.kill(pid, "SIGUSR2");
    await happened(1, "swap", "refresh");
    rmSync(secretFile);
    process.kill(pid, "SIGUSR2");
    await happened(1, "refresh-failed");
    process.kill((await key()).pid, "SIGKILL");
    await happened(1, "restart");
    await client.close();

    const found = records();
    const from = `file:${secretFile}`;
    expect(found).toMatchObject([
      { event: "launch", mode: "run", pid, generation: 1, secrets: [{ name: "KEY", from }] },
      { event: "leak", secrets: [{ name: "KEY", from }], method: "tools/call", isMasked: false },
      { event: "swap", generation: 2, secrets: [{ name: "KEY", from, fingerprint: expect.any(String) }] },
      { event: "refresh", generation: 2, secrets: [{ name: "KEY", from, fingerprint: expect.any(String) }] },
      { event: "refresh-failed", reason: expect.stringContaining("Cannot read secret KEY") },
      { event: "restart", generation: 3 },
      { event: "end", exitCode: expect.any(Number) },
    ]);
    expect(printOf(found[2])).not.toBe(printOf(found[0]));
    expect(mcpRun.run(["audit", "verify"]).status).toBe(0);
    for (const value of ["canary-one", "canary-two"]) expect(mcpRun.filesWith(value)).toEqual([]);
    expect(log).not.toContain("audit");
  });

  it("writes down each tool call where the profile asks for it, and nothing that was said in it", async () => {
    await serving("secrets: { KEY: 'file:SECRET_FILE' }\nscrub: { stdout: off }\naudit: { calls: metadata }");
    await key();
    const wrong = client.callTool({ name: "absent", arguments: { q: "canary-argument" } });
    await wrong.catch(() => undefined);
    await happened(2, "call");

    const [first, second] = records("--event", "call");
    expect(first).toMatchObject({ profile: "p", tool: "key", outcome: "ok", generation: 1, client: "test" });
    expect(first?.ms).toBeTypeOf("number");
    expect(second).toMatchObject({ tool: "absent", outcome: expect.stringMatching(/error$/) });
    expect(mcpRun.filesWith("canary-argument")).toEqual([]);
    expect(mcpRun.run(["audit", "--event", "call"]).stdout).toMatch(
      / key: ok in [\d.]+ ms, for test, generation 1\n/,
    );
  });

  it("writes down no call where the profile does not", async () => {
    await serving("secrets: { KEY: 'file:SECRET_FILE' }");
    await key();
    await happened(1, "leak");
    await client.close();

    expect(records("--event", "call")).toEqual([]);
  });

  it("writes down a signal, with the fingerprint of what the server reads now", async () => {
    const { pid, secretFile } = await serving(
      "refresh: { signal: SIGHUP }\nsecrets: { KEY: { from: 'file:SECRET_FILE', deliver: file } }",
    );
    await key();
    writeFileSync(secretFile, "canary-two");
    process.kill(pid, "SIGUSR2");
    await happened(1, "signal");

    const [launch, signal] = [...records("--event", "launch"), ...records("--event", "signal")];
    expect(signal).toMatchObject({ signal: "SIGHUP", generation: 1, secrets: [{ name: "KEY" }] });
    expect(printOf(signal)).not.toBe(printOf(launch));
  });

  it("leaves at most half a line when it is killed", async () => {
    const { pid } = await serving("secrets: { KEY: 'file:SECRET_FILE' }");
    pids.add((await key()).pid);
    await happened(1, "launch");
    process.kill(pid, "SIGKILL");
    await until("all have gone", () => ![...pids].some(isAlive));

    expect(mcpRun.run(["audit", "verify"])).toMatchObject({ status: 0 });
    expect(records("--event", "launch")).toHaveLength(1);
  });
});

describe("mcp-run audit", () => {
  beforeEach(() => {
    simpleProfile("one");
    simpleProfile("two");
    exec("one");
    exec("two");
  });

  it("prints a line for each record, the newest last", () => {
    const { stdout, stderr, status } = mcpRun.run(["audit"]);

    expect([status, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +launch +one +\S+@\S+\[\d+\] +exec node, generation 1, server pid \d+, TOKEN \(env:TT\)$/,
    );
    expect(lines[3]).toMatch(/Z +end +two +\S+@\S+\[\d+\] +exit code 0$/);
  });

  it("prints what is asked for", () => {
    const events = (...options: readonly string[]) =>
      records(...options).map(({ event, profile }) => `${event} ${profile}`);

    expect(events("--profile", "two")).toEqual(["launch two", "end two"]);
    expect(events("--event", "launch")).toEqual(["launch one", "launch two"]);
    expect(events("--secret", "TOKEN")).toEqual(["launch one", "launch two"]);
    expect(events("--secret", "env:TT", "--profile", "one")).toEqual(["launch one"]);
    expect(events("--secret", "OTHER")).toEqual([]);
    expect(events("--limit", "3")).toEqual(["end one", "launch two", "end two"]);
    expect(events("--since", "1h")).toHaveLength(4);
    expect(events("--since", "2999-01-01")).toEqual([]);
    expect(events("--since", "2020-01-01T00:00Z", "--limit", "1")).toEqual(["end two"]);
  });

  it.each([
    [["--since", "yesterday"], 'Cannot look since "yesterday": it is no time. Try 24h, 7d, '],
    [["--since", "2026-13-45"], "it is no time"],
    [["--since", "999999999d"], "it is no time"],
    [["--limit", "0"], 'Cannot print "0" records'],
    [["--event", "party"], "Allowed choices are launch, swap,"],
    [["verfy"], "too many arguments"],
    [["verify", "--against", "absent.txt"], "absent.txt: ENOENT"],
  ])("refuses %j in words", (options, words) => {
    const { status, stdout, stderr } = mcpRun.run(["audit", ...options]);

    expect([status, stdout]).toEqual([64, ""]);
    expect(stderr).toContain(words);
  });

  it("shows what a terminal would obey, and says that lines are no records", () => {
    const [name = ""] = files();
    const file = join(folder(), name);
    const [first = "", launch = "", ...others] = readFileSync(file, "utf8").split("\n");
    const hostile = launch.replace('"program":"node"', '"program":"\u001b[2Jno\u202ede"');
    // JSON wants the escape character escaped; the other one may stand as it is.
    const written = [first, hostile.replace("\u001b", "\\u001b"), "rubbish", ...others].join("\n");
    writeFileSync(file, written);

    const asText = mcpRun.run(["audit"]);
    expect(asText.stdout).toContain("exec \\e[2Jno\\u202ede, generation 1");
    expect(asText.stderr).toBe(
      "mcp-run: Warning: 1 lines of the audit are no records. Try mcp-run audit verify.\n",
    );
    const asJson = mcpRun.run(["audit", "--json"]).stdout;
    expect(asJson).toContain('"program":"\\u001b[2Jno\\u202ede"');
    const line = asJson.split("\n").find((one) => one.includes("[2J")) ?? "";
    expect(JSON.parse(line)).toMatchObject({ program: "\u001b[2Jno\u202ede" });
  });

  it("says so, and ends well, where there is nothing", () => {
    rmSync(folder(), { recursive: true });

    const ran = mcpRun.run(["audit"]);
    expect([ran.status, ran.stdout]).toEqual([0, ""]);
    expect(ran.stderr).toMatch(/^mcp-run: there is no such record in \S+audit\n$/);
    expect(mcpRun.run(["audit", "verify"])).toMatchObject({ status: 0 });
    expect(mcpRun.run(["audit", "head"]).stdout).toMatch(/^# mcp-run audit head 1: 0 files on \S+ at \S+\n$/);
  });
});

describe("mcp-run audit verify", () => {
  let anchors: string;

  beforeEach(() => {
    simpleProfile();
    exec("p");
    exec("p");
    anchors = mcpRun.write("anchors.txt", mcpRun.run(["audit", "head"]).stdout);
  });

  const verify = (...options: readonly string[]) => mcpRun.run(["audit", "verify", ...options]);

  it("ends with 0 when all is as it was, with and without anchors, also after more was written", () => {
    expect(verify().stdout).toContain("only anchors show what was cut off");
    exec("p");

    const { status, stdout } = verify("--against", anchors);
    expect(status).toBe(0);
    expect(stdout).toBe(
      "✔ 3 files, 6 records: all is as it was written\n✔ nothing is missing of the 2 anchors\n",
    );
  });

  it("ends with 78 and names the line when something was changed", () => {
    const [name = ""] = files();
    const file = join(folder(), name);
    writeFileSync(file, readFileSync(file, "utf8").replace('"profile":"p"', '"profile":"q"'));

    const { status, stdout } = verify();
    expect(status).toBe(78);
    expect(stdout).toContain(`✘ ${name}: line 2 was changed\n`);
    expect(stdout).not.toContain("✔");
    expect(JSON.parse(verify("--json").stdout)).toMatchObject({
      version: 1,
      ok: false,
      files: 2,
      problems: [{ file: name, line: 2, problem: "line 2 was changed" }],
    });
  });

  it("ends with 78 when an end was cut off or a file removed, against the anchors alone", () => {
    const [first = "", second = ""] = files();
    const file = join(folder(), first);
    writeFileSync(file, `${readFileSync(file, "utf8").split("\n").slice(0, 2).join("\n")}\n`);
    rmSync(join(folder(), second));

    expect(verify().status).toBe(0);
    const { status, stdout } = verify("--against", anchors);
    expect(status).toBe(78);
    expect(stdout).toContain(
      `✘ ${first}: it was cut: it ends with record 1, and had 2 when that was noted\n`,
    );
    expect(stdout).toContain(`✘ ${second}: it was removed\n`);
  });

  it("calls half a line torn, and nothing worse", () => {
    const [name = ""] = files();
    const file = join(folder(), name);
    writeFileSync(file, readFileSync(file, "utf8").slice(0, -20));

    const { status, stdout } = verify();
    expect(status).toBe(0);
    expect(stdout).toContain(`- ${name} ends in half a line: its writer was killed, or is at it\n`);
  });

  it("refuses anchors that are not whole", () => {
    writeFileSync(anchors, readFileSync(anchors, "utf8").split("\n").slice(0, 2).join("\n"));

    const { status, stderr } = verify("--against", anchors);
    expect(status).toBe(64);
    expect(stderr).toContain("2 files are announced, and 1 follow");
  });
});

describe("mcp-run audit head", () => {
  it("prints no anchor of a file that is not what was written, and ends with 78", () => {
    simpleProfile();
    exec("p");
    exec("p");
    const [first = "", second = ""] = files();
    writeFileSync(join(folder(), first), "rubbish\n");

    const { status, stdout, stderr } = mcpRun.run(["audit", "head"]);
    expect(status).toBe(78);
    expect(stdout.split("\n").slice(1)).toEqual([expect.stringMatching(`^[0-9a-f]{64} 2 ${second}$`), ""]);
    expect(stderr).toContain(`Cannot print anchors of ${first}`);
  });
});

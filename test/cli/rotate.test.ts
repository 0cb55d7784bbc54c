/** `mcp-run rotate` through the built program: a store, running servers, and whoever is on call. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Installation, MAIN, type Ran } from "../helpers/installation.ts";
import { KeyedSession, keyedProfile, SERVER } from "../helpers/keyed-session.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";

const OLD = "canary-old-key";
const NEW = "canary-new-key";

let mcpRun: Installation;
const sessions: KeyedSession[] = [];
/** Of rotations that a test has started and not waited for. */
const pids = new Set<number>();

beforeEach(() => {
  mcpRun = new Installation();
  mcpRun.set("local:key", OLD);
});

afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  await until("nothing is left", () => ![...pids].some(isAlive)).catch((error) => {
    killAll(pids);
    throw error;
  });
  pids.clear();
  mcpRun.remove();
});

/** A profile whose hook says that it has revoked what it is asked to, and mints nothing. */
function profile(keys = "", rotate = "hook: [node, HOOK]"): void {
  const hook = mcpRun.write(
    "hook.mjs",
    `let text = ""; for await (const chunk of process.stdin) text += chunk;
     const { action } = JSON.parse(text);
     const answers = { find: {}, mint: { value: "${NEW}", keyId: "key-2" }, revoke: { revoked: true }, verify: { accepted: false } };
     process.stdout.write(JSON.stringify(answers[action]));`,
  );
  const source = rotate.replace("HOOK", hook);
  const secrets = `secrets: { KEY: { from: "local:key", rotate: { ${source} } } }`;
  mcpRun.profile("p", keyedProfile(`${keys}\n${secrets}\n`));
}

/** A session with that profile; gives what asks its server for its key. */
async function serving(): Promise<() => Promise<string>> {
  const session = await KeyedSession.of(mcpRun);
  sessions.push(session);
  return async () => (await session.ask()).key;
}

function rotate(...args: readonly string[]) {
  return mcpRun.run(["rotate", "p", ...args]);
}

/** The same, while the test goes on. */
function started(...args: readonly string[]): Promise<Pick<Ran, "status" | "stdout" | "stderr">> {
  const child = spawn(process.execPath, [MAIN, "rotate", "p", ...args], {
    env: mcpRun.env,
    cwd: mcpRun.home,
    stdio: ["ignore", "pipe", "pipe"],
  });
  pids.add(child.pid ?? 0);
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].on("data", (chunk) => {
      said[stream] += chunk;
    });
  }
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, ...said })));
}

function journals(): readonly string[] {
  const folder = join(mcpRun.home, "state/rotations");
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  return files.map((name) => readFileSync(join(folder, name), "utf8"));
}

function idIn(stdout: string): string {
  return /\d{8}-\d{6}-\w{6}/.exec(stdout)?.[0] ?? "";
}

function idOfLast(stdout: string): string {
  return /.*(\d{8}-\d{6}-\w{6})/s.exec(stdout)?.[1] ?? "";
}

/** What stands in the place of the folder of the audit from now on. */
const BREAK_AUDIT = `import { rmSync, writeFileSync } from "node:fs";
  const audit = AUDIT; rmSync(audit, { recursive: true, force: true }); writeFileSync(audit, "");`;

describe("an audit that can't be written", () => {
  const audit = () => join(mcpRun.home, "state/audit");

  it("keeps a rotation from beginning", () => {
    profile();
    rmSync(audit(), { recursive: true, force: true });
    writeFileSync(audit(), "");

    const ran = rotate("--reason", "leaked", "--yes");

    expect(ran).toMatchObject({ status: 77 });
    expect(ran.stderr).toContain("Cannot rotate: the audit can't be written");
    expect(journals()).toEqual([]);
    expect(mcpRun.run(["secrets", "get", "local:key", "--reveal"]).stdout).toBe(OLD);
  });

  it("does not stop one that has begun: it says the records, and ends with 75", () => {
    profile();
    const hook = join(mcpRun.home, "hook.mjs");
    const breaking = BREAK_AUDIT.replace("AUDIT", JSON.stringify(audit()));
    writeFileSync(hook, `${breaking}\n${readFileSync(hook, "utf8")}`);

    const ran = rotate("--reason", "leaked", "--yes");

    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status: 75 });
    expect(ran.stdout).toMatch(/Rotation \S+: done\n/);
    expect(mcpRun.run(["secrets", "get", "local:key", "--reveal"]).stdout).toBe(NEW);
    expect(ran.stderr.match(/Cannot write the audit/g)).toHaveLength(1);
    const said = [...ran.stderr.matchAll(/Warning: not in the audit: (\{.*\})\.$/gm)].map(([, text = ""]) =>
      JSON.parse(text),
    );
    expect(said.map(({ step, state }) => `${step} ${state}`)).toEqual(
      expect.arrayContaining(["mint done", "promote done", "revoke done", "retire done", "end done"]),
    );
    expect(ran.stdout + ran.stderr).not.toContain("canary-");
  });

  it("does not stop a server", async () => {
    profile();
    rmSync(audit(), { recursive: true, force: true });
    writeFileSync(audit(), "");

    expect(await (await serving())()).toBe(OLD);
  });
});

describe("mcp-run rotate", () => {
  it("replaces a key in its store and in every running server, revokes and retires the old one", async () => {
    profile();
    const keys = [await serving(), await serving()];
    for (const key of keys) expect(await key()).toBe(OLD);

    const report = join(mcpRun.home, "incident.md");
    const ran = rotate("--reason", "leaked in build log", "--yes", "--report", report);

    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status: 0 });
    for (const key of keys) expect(await key()).toBe(NEW);
    expect(ran.stdout).toMatch(/2 servers on this machine run with it: p \(pid \d+\), p \(pid \d+\)/);
    for (const step of ["lock", "mint", "candidate", "promote", "revoke", "verify", "retire"])
      expect(ran.stdout).toMatch(new RegExp(`✔ ${step} local:key`));
    expect(ran.stdout).toMatch(/✔ canary: tried by the supervisor with pid \d+, /);
    expect(ran.stdout).toContain("2 acknowledged");
    expect(ran.stdout).toMatch(/Rotation \S+: done\n/);
    expect(ran.stdout + ran.stderr).not.toContain("canary-");
    const told = readFileSync(report, "utf8");
    expect(told).toContain("# Incident: keys of p replaced");
    for (const known of [
      "leaked in build log",
      "key-2",
      "promote local:key",
      "local.age\\#key",
      "has the new value",
      "refused",
    ])
      expect(told).toContain(known);
    expect(told).not.toContain("canary-");
    const audit = mcpRun.run(["audit", "--event", "rotation"]);
    expect(audit.stdout).toMatch(/plan done, KEY \(local:key\), leaked in build log$/m);
    expect(audit.stdout).toContain("end done");
    expect(mcpRun.run(["audit", "verify"]).status).toBe(0);
    expect(journals()).toHaveLength(1);
    expect(journals().join()).not.toContain("canary-");
    const again = rotate("--resume", idIn(ran.stdout));
    expect(again).toMatchObject({ status: 64, stderr: expect.stringContaining("it has ended (done) at") });
    // The issuer's name for what was minted is known to the next one.
    rotate("--reason", "again", "--yes");
    expect(journals()[1]).toContain('"keyId":"key-2"');
  });

  it("shows what it would do and does nothing with --dry-run", async () => {
    profile();
    const ran = rotate("--reason", "drill", "--dry-run");

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(ran.stdout).toMatch(
      /local:key at file:\/\/\S+\/local\.age#key, version v\w+\n {4}KEY: live fingerprint [0-9a-f]{12}, the new one from hook\n/,
    );
    expect(mcpRun.run(["secrets", "get", "--reveal", "local:key"]).stdout).toBe(OLD);
    expect(journals()).toEqual([]);
  });

  it("wants no reason of a dry run", () => {
    profile();

    const ran = rotate("--dry-run");

    expect(ran).toMatchObject({ status: 0, stderr: "" });
    expect(ran.stdout).toMatch(/^Rotation \S+ by .*: dry run\n/);
    expect(journals()).toEqual([]);
  });

  it("leaves alone what is younger than --if-older-than", async () => {
    profile();
    const young = rotate("--reason", "scheduled", "--yes", "--if-older-than", "1h");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const old = rotate("--reason", "scheduled", "--dry-run", "--if-older-than", "1ms");

    expect(young).toMatchObject({ status: 0, stdout: "Nothing is older than 1h.\n" });
    expect(old.stdout).toContain("the new one from hook");
  });

  it("takes everything back when the new key does not work", async () => {
    const good = mcpRun.write("good-keys", `${OLD}\n`);
    profile(`env: { GOOD_KEYS: ${good} }\nprobe: { tool: works }`);
    const key = await serving();

    const ran = rotate("--reason", "drill", "--yes");

    expect(ran.status).toBe(69);
    expect(ran.stdout).toContain("its probe works failed");
    expect(ran.stdout).toMatch(/✔ discard local:key/);
    expect(ran.stdout).toMatch(/Rotation \S+: discarded/);
    expect(await key()).toBe(OLD);
  });

  it("shows and keeps what a server with the new key said last, without the key", async () => {
    profile();
    mcpRun.profile(
      "p",
      mcpRun
        .read("config/profiles/p.yaml")
        .toString()
        .replace(
          /args: .*/,
          `args: [-e, "console.error('denied: ' + process.env.KEY + ' at server.example'); process.exit(3)"]`,
        ),
    );
    const report = join(mcpRun.home, "incident.md");

    const ran = rotate("--reason", "drill", "--yes", "--report", report);

    expect(ran.status).toBe(69);
    expect(ran.stdout).toMatch(
      /✘ canary: .*\n {4}it ended with exit code 3\n {4}denied: \[mcp-run:KEY\] at server\.example\n/,
    );
    const told = readFileSync(report, "utf8");
    expect(told).toContain("### What the server with the new keys said");
    expect(told).toContain("denied: [mcp-run:KEY] at server.example");
    expect(told).toContain("tried by mcp-run rotate");
    expect(ran.stdout + told + journals().join()).not.toContain("canary-");
  });

  it("has no canary beside a server that can't run twice, and says so before and after", async () => {
    profile("refresh: { restart: sequential }");
    const alone = rotate("--reason", "drill", "--dry-run");
    const key = await serving();
    const planned = rotate("--reason", "drill", "--dry-run");

    const ran = rotate("--reason", "drill", "--yes");

    const state = "its server can't run twice (refresh.restart is sequential)";
    expect(alone.stdout).not.toContain("canary");
    expect(planned.stdout).toContain(`There is no canary: ${state}.`);
    expect(ran.stdout).toContain(`✔ canary: there was none, since ${state}`);
    expect(ran.stdout).toContain(`- there was no canary, and the new key itself was not exercised: ${state}`);
    expect(ran).toMatchObject({ status: 0 });
    expect(await key()).toBe(NEW);
  });

  it.each([
    ["is killed", "SIGKILL"],
    ["is told to end", "SIGTERM"],
  ] as const)(
    "is tried by another when its supervisor %s in the middle of it, and nothing is left",
    async (_what, signal) => {
      const good = mcpRun.write("good-keys", `${OLD}\n${NEW}\n`);
      const program = mcpRun.write(
        "probe.mjs",
        `import { existsSync, writeFileSync } from "node:fs";
       if (process.env.KEY !== "${NEW}" || existsSync("${mcpRun.home}/tried")) process.exit(0);
       writeFileSync("${mcpRun.home}/tried", process.pid + " " + process.ppid);
       setInterval(() => undefined, 1000);`,
      );
      profile(`env: { GOOD_KEYS: ${good} }\nprobe: { program: [node, ${program}] }`);
      const keys = [await serving(), await serving()];
      for (const key of keys) await key();
      const rotation = started("--reason", "drill", "--yes");
      await until("the new key is tried", () => mcpRun.has("tried") && mcpRun.read("tried").length > 3);
      const [probe = 0, supervisor = 0] = mcpRun.read("tried").toString().split(" ").map(Number);

      process.kill(supervisor, signal);

      const ran = await rotation;
      expect(ran, ran.stdout + ran.stderr).toMatchObject({ status: 0 });
      expect(ran.stdout).toContain(`- the supervisor with pid ${supervisor} could not try the new key: `);
      expect(ran.stdout).toMatch(/✔ canary: tried by the supervisor with pid \d+ /);
      expect(ran.stdout).not.toContain(`tried by the supervisor with pid ${supervisor} `);
      await until("the probe is gone", () => !isAlive(probe));
    },
  );

  it("tries one key at a time in a supervisor: who comes second has a server of its own", async () => {
    // Another value than KEY has: else whoever has the one would be waited for until he has replaced the other as well.
    const other = "canary-other-key";
    mcpRun.set("local:other", other);
    const [tried, hold] = [join(mcpRun.home, "tried"), mcpRun.write("hold", "")];
    const program = mcpRun.write(
      "probe.mjs",
      `import { existsSync, writeFileSync } from "node:fs";
       if (process.env.KEY === "${NEW}" && process.env.OTHER === "${other}") {
         writeFileSync("${tried}", "");
         while (existsSync("${hold}")) await new Promise((resolve) => setTimeout(resolve, 20));
       }`,
    );
    profile(`probe: { program: [node, ${program}] }`);
    const both = mcpRun.read("config/profiles/p.yaml").toString();
    mcpRun.profile(
      "p",
      both
        .replace(/secrets: \{ (KEY: (.*)) \}\n/, "secrets: { $1, OTHER: $2 }\n")
        .replace(/(OTHER: \{ from: "local:)key/, "$1other"),
    );
    await (await serving())();

    const first = started("--secret", "KEY", "--reason", "drill", "--yes");
    await until("the first key is tried", () => existsSync(tried));
    const second = await started("--secret", "OTHER", "--reason", "drill", "--yes");
    rmSync(hold);

    const ran = await first;
    expect(second, second.stdout + second.stderr).toMatchObject({ status: 0 });
    expect(second.stdout).toMatch(
      /- the supervisor with pid \d+ could not try the new key: .*it tries another one\n/,
    );
    expect(second.stdout).toContain("✔ canary: tried by mcp-run rotate ");
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status: 0 });
    expect(ran.stdout).toMatch(/✔ canary: tried by the supervisor with pid \d+ /);
  });

  it.each([
    ["is refused", "refused", 0, "KEY: a server with it fails the probe, and passes it with the new one"],
    ["is taken still", "taken", 75, "OLD KEY STILL VALID: KEY of local:key"],
  ])("sees with a server of its own whether the old key %s", async (_what, is, status, said) => {
    const good = mcpRun.write("good-keys", is === "taken" ? `${OLD}\n${NEW}\n` : `${NEW}\n`);
    profile(`env: { GOOD_KEYS: ${good} }\nprobe: { tool: works, negative: true }`);

    const ran = rotate("--reason", "drill", "--yes");

    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status });
    expect(ran.stdout).toContain(said);
    expect(ran.stdout + ran.stderr + journals().join()).not.toContain("canary-");
  });

  it("ends with 75 and says that the old key is valid where nobody can revoke it, and can be undone", async () => {
    profile("", "generate: { bytes: 32, encoding: base64url }");
    const key = await serving();
    const ran = rotate("--reason", "drill", "--yes");
    const id = idIn(ran.stdout);

    expect(ran.status).toBe(75);
    expect(ran.stdout).toContain("OLD KEY STILL VALID: KEY of local:key");
    expect(ran.stdout).toMatch(
      new RegExp(`  # to revoke the old key.*:\n  mcp-run rotate p --resume ${id}\n`),
    );
    expect(await key()).not.toBe(OLD);
    expect(rotate("--resume", id, "--yes", "--generate", "--secret", "KEY").status).toBe(75);
    expect(mcpRun.run(["status"]).stdout).toContain(`mcp-run rotate p --resume ${id}`);

    const undone = rotate("--rollback", id, "--yes");
    expect(undone, undone.stdout).toMatchObject({ status: 0 });
    expect(mcpRun.run(["status"]).stdout).not.toContain("--resume");
    expect(await key()).toBe(OLD);
    expect(mcpRun.run(["audit"]).stdout).toContain(` ${id}: rollback turned, `);
  });

  it.skipIf(process.platform === "win32")(
    "writes a report for its owner alone, also in the place of one for all, and follows no link",
    () => {
      profile();
      const report = mcpRun.write("incident.md", "for all");
      chmodSync(report, 0o644);
      const link = join(mcpRun.home, "link.md");
      const elsewhere = mcpRun.write("elsewhere.md", "of somebody");
      symlinkSync(elsewhere, link);

      for (const file of [report, link]) {
        const ran = rotate("--reason", "drill", "--yes", "--generate", "--report", file);
        expect(ran.stderr).toContain(`the report is in ${file}`);
        expect(readFileSync(file, "utf8")).toContain("# Incident");
        expect(lstatSync(file).mode & 0o777).toBe(0o600);
      }
      expect(readFileSync(elsewhere, "utf8")).toBe("of somebody");
    },
  );

  it.skipIf(process.platform === "win32")("shows a report whose file is the terminal or a pipe", () => {
    profile();
    const words = [MAIN, "rotate", "p", "--reason", "drill", "--yes", "--report", "/dev/stdout"];

    const ran = spawnSync("sh", ["-c", '"$0" "$@" | cat', process.execPath, ...words], {
      env: mcpRun.env,
      cwd: mcpRun.home,
      encoding: "utf8",
      timeout: 55_000,
    });

    expect(ran.stdout, ran.stderr).toMatch(/Rotation \S+: done\n[\s\S]*# Incident: keys of p replaced/);
    expect(lstatSync("/dev/stdout").isSymbolicLink()).toBe(true);
  });

  it("does not begin where a person has to make the key and nobody is there, and shows the plan all the same", () => {
    profile("", 'console: "https://issuer.example/keys"');

    const refused = rotate("--reason", "drill", "--yes");
    const planned = rotate("--dry-run");

    expect(refused.status, refused.stdout + refused.stderr).toBe(64);
    expect(refused.stderr).toContain("Cannot rotate KEY: a person makes a new one in a console");
    expect(refused.stderr).toContain("`--from-stdin`");
    expect(journals()).toEqual([]);
    expect(planned.status, planned.stderr).toBe(0);
    expect(planned.stdout).toContain("KEY");
    const piped = mcpRun.run(["rotate", "p", "--reason", "drill", "--yes", "--from-stdin"], { input: NEW });
    expect(piped.status, piped.stdout + piped.stderr).toBe(75);
  });

  it("says how to go on as it has to be typed, wherever the profile's file is", () => {
    const keys = `command: node, args: [${JSON.stringify(SERVER)}], secrets: { KEY: { from: "local:key", rotate: { generate: { bytes: 32, encoding: hex } } } }`;
    const file = mcpRun.write("elsewhere.yaml", `version: 1\nprofiles: { q: { ${keys} } }\n`);

    const ran = mcpRun.run(["rotate", "q", "--config", file, "--reason", "drill", "--yes"]);

    expect(ran.status, ran.stdout + ran.stderr).toBe(75);
    const command = `mcp-run rotate q --config ${file} --resume ${idIn(ran.stdout)}\n`;
    expect(ran.stdout).toContain(command);
    expect(mcpRun.run(["status"]).stdout).toContain(`has not ended (drill): ${command}`);
    const again = mcpRun.run(["rotate", "q", "--reason", "more", "--yes"], { env: { MCP_RUN_CONFIG: file } });
    expect(again.stdout).toContain(`its old key may be valid: ${command}`);
    expect(again.stdout).toContain(`mcp-run rotate q --config ${file} --resume ${idOfLast(again.stdout)}\n`);
  });

  it("goes on by the command that its journal has, and by the profile's name where an older one has none", () => {
    profile("", "generate: { bytes: 32, encoding: hex }");
    const file = join(mcpRun.home, "config/profiles/p.yaml");
    const begun = mcpRun.run(["rotate", file, "--reason", "drill", "--yes"]);
    const id = idIn(begun.stdout);
    const report = join(mcpRun.home, "incident.md");
    const goOn = () => rotate("--resume", id, "--yes", "--report", report);

    const now = goOn();
    const told = readFileSync(report, "utf8");
    const journal = `state/rotations/${id}.jsonl`;
    mcpRun.write(
      journal,
      mcpRun
        .read(journal)
        .toString()
        .replace(/"typed":\[.*?\],/, ""),
    );
    const older = goOn();

    const command = `mcp-run rotate ${file} --resume ${id}\n`;
    mcpRun.profile("q", mcpRun.read("config/profiles/p.yaml").toString());
    const other = mcpRun.run(["rotate", "q", "--resume", id]);
    const silent = rotate("--resume", id);
    for (const said of [begun.stdout, now.stdout, told]) expect(said).toContain(command);
    expect([now.status, older.status]).toEqual([75, 75]);
    expect(older.stdout).toContain(`  mcp-run rotate p --resume ${id}\n`);
    expect(other.stderr).toContain(`it is a rotation of p. Try mcp-run rotate p --resume ${id}.`);
    expect(silent.stderr).toContain("nobody is there to be asked");
    expect(mcpRun.run(["status"]).stdout).toContain(`mcp-run rotate p --resume ${id}\n`);
  });

  it("takes a new key from stdin, into one field of a document", () => {
    mcpRun.set("local:doc", '{"user":"app","pw":"canary-old"}');
    mcpRun.profile("p", 'command: node\nargs: [x]\nsecrets: { PW: "local:doc#pw" }\n');

    const ran = mcpRun.run(["rotate", "p", "--from-stdin", "--yes", "--reason", "drill"], {
      input: "canary-piped\n",
    });

    // Its server can't be started: that is what the canary is for.
    expect(ran.status).toBe(69);
    expect(ran.stdout).toContain("discarded");
    expect(JSON.parse(mcpRun.run(["secrets", "get", "--reveal", "local:doc"]).stdout)).toEqual({
      user: "app",
      pw: "canary-old",
    });
  });

  it.each([
    [["--yes"], "a reason is wanted"],
    [["--reason", "x"], "nobody is there to be asked"],
    [["--reason", "x", "--yes", "--generate", "--mint"], "a new value comes from one place"],
    [["--reason", "x", "--yes", "--secret", "KEE"], "has no such secret under secrets:. Try KEY"],
    [["--reason", "x", "--yes", "--ack-timeout", "soon"], "soon is no time to wait"],
    [["--resume", "a", "--rollback", "b", "--yes"], "it can go on, or go back"],
    [["--resume", "a", "--dry-run"], "a dry run is of a rotation that has not begun"],
    [["--reason", "x", "--yes", "--report", "no/where/x.md"], "no/where: ENOENT. Try another path"],
    [["--reason", "x", "--yes", "--report", "."], "it is a folder. Try another path"],
    [["--reason", "x", "--yes", "--all", "--secret", "KEY"], "Try one of --secret and --all"],
    [
      ["--resume", "20260101-000000-aaaaaa"],
      "Cannot find rotation 20260101-000000-aaaaaa: there is no journal",
    ],
    [["--rollback", "NOSUCH"], 'Cannot find rotation "NOSUCH": that is no rotation\'s id'],
  ])("refuses %j", (args, reason) => {
    profile();
    const ran = rotate(...args);

    expect(ran.stderr).toContain(reason);
    expect(ran.status).toBe(64);
    expect(ran.stderr.trim().split("\n")).toHaveLength(1);
  });
});

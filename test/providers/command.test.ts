import { chmod, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { commandKind } from "../../providers/command.ts";
import { quotable } from "../../src/commands/quotable.ts";
import type { ProgramRequest } from "../../src/secrets/program.ts";
import type { FetchedSecret } from "../../src/secrets/provider.ts";
import { createProgramRunner, runProgram } from "../../src/secrets/run-program.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { until } from "../helpers/processes.ts";
import { testContext } from "../helpers/provider-context.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";
import { describeProviderContract, printed } from "./contract.ts";

const PATH = process.env.PATH ?? "";
let dir: string;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "mcp-run-command-")));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

describeProviderContract("command", {
  emptyIs: "missing",
  async open(entries) {
    for (const [name, value] of Object.entries(entries)) await writeFile(join(dir, name), value);
    // A missing entry is a program that prints nothing.
    const script = 'cat "$1" 2>/dev/null || true';
    return {
      provider: await commandKind.open({}, context()),
      ref: (name) => refTo(["sh", "-c", script, "sh", join(dir, name)], { trim: false }),
      dispose: async () => undefined,
    };
  },
  async hang() {
    return {
      provider: await commandKind.open({}, context()),
      ref: () => refTo(["sleep", "300"]),
      dispose: async () => undefined,
    };
  },
});

function context(overrides: Parameters<typeof testContext>[0] = {}) {
  return testContext({ runProgram, env: { PATH, HOME: dir }, ...overrides });
}

function refTo(command: readonly string[], options: Readonly<Record<string, unknown>> = {}) {
  return commandKind.refSchema.parse({ path: command[0], command, ...options });
}

async function read(
  command: readonly string[],
  options: Readonly<Record<string, unknown>> = {},
  within = context(),
) {
  const ref = refTo(command, options);
  const provider = await commandKind.open({}, within);
  return (await provider.fetch([ref], new AbortController().signal)).get(ref);
}

async function value(...args: Parameters<typeof read>): Promise<string> {
  const answer = await read(...args);
  if (!answer || !("value" in answer)) throw answer;
  return (answer as FetchedSecret).value.reveal();
}

const shell = (script: string) => ["sh", "-c", script];

describe("what a program prints", () => {
  it.each([
    ["canary\\n", "canary"],
    ["canary\\r\\n", "canary"],
    ["canary\\n\\n", "canary\n"],
  ])("is the secret, without one newline at the end: %s", async (output, expected) => {
    expect(await value(["printf", output])).toBe(expected);
  });

  it("is the secret with its newline under trim: false", async () => {
    expect(await value(["printf", "canary\\n"], { trim: false })).toBe("canary\n");
  });

  it("is refused when it is no text", async () => {
    expect(await read(["printf", "\\377\\376"])).toMatchObject({
      failure: "invalid",
      reason: "what printf printed is not UTF-8 text",
    });
  });

  it("is refused above 1 MiB", async () => {
    expect(await read(["head", "-c", "1048577", "/dev/zero"])).toMatchObject({
      failure: "invalid",
      reason: "head printed more than 1048576 bytes",
    });
  });

  it("is missing when there is none", async () => {
    expect(await read(["true"])).toMatchObject({
      failure: "missing",
      reason: "true ended well but printed nothing",
    });
  });
});

describe("how the program is started", () => {
  const requests: ProgramRequest[] = [];
  const recording = () =>
    context({
      env: { PATH, HOME: dir, OP_SESSION_x: "canary-session", MCP_RUN_AGE_KEY: "canary-age" },
      async runProgram(request) {
        requests.push(request);
        return { type: "exited", exitCode: 0, stdout: Buffer.from("canary"), stderr: "" };
      },
    });

  it("is with the environment of mcp-run, less what is for mcp-run alone", async () => {
    const within = recording();
    await read(["op"], {}, within);

    expect(requests.at(-1)?.env).toEqual({ PATH, HOME: dir, OP_SESSION_x: "canary-session" });
    expect([...within.env.namesRead]).toEqual([]);
  });

  it("is in the home directory, with 10 s and an empty stdin", async () => {
    await read(["op"], {}, recording());

    expect(requests.at(-1)).toMatchObject({ cwd: dir, timeoutMs: 10_000 });
    expect(requests.at(-1)?.input).toBeUndefined();
  });

  it("is where mcp-run is if the home directory does not exist", async () => {
    expect(await value(["printf", "canary"], {}, context({ env: { PATH, HOME: join(dir, "absent") } }))).toBe(
      "canary",
    );
  });

  it("is by its words, which no shell has looked at", async () => {
    expect(await value(["printf", "%s|", "$HOME", "a b", "*", "`id`"])).toBe("$HOME|a b|*|`id`|");
  });

  it("is from the home directory where its path begins with ~/", async () => {
    await writeFile(join(dir, "get-secret"), "#!/bin/sh\nprintf canary-own\n");
    await chmod(join(dir, "get-secret"), 0o700);

    expect(await value(["~/get-secret"])).toBe("canary-own");
  });

  it.each([
    ["a relative path", { command: ["./get-secret"] }],
    ["a relative path with a folder", { command: ["bin/get-secret"] }],
    ["a relative path of Windows", { command: ["..\\get-secret"] }],
    ["no program", { command: [] }],
    ["an empty program", { command: [""] }],
    ["a NUL byte", { command: ["op", "a\0b"] }],
    ["a command line", { command: "op read x" }],
    ["a timeout without a unit", { command: ["op"], timeout: "10" }],
    ["a timeout of nothing", { command: ["op"], timeout: "0s" }],
    ["a timeout of hours", { command: ["op"], timeout: "6m" }],
    ["another key", { command: ["op"], shell: true }],
  ])("is refused for %s", (_what, request) => {
    expect(commandKind.refSchema.safeParse({ path: "x", ...request }).success).toBe(false);
  });

  it("is by at most eight at the same time", async () => {
    const waiting: (() => void)[] = [];
    const provider = await commandKind.open(
      {},
      context({
        async runProgram() {
          await new Promise<void>((resolve) => waiting.push(resolve));
          return { type: "exited", exitCode: 0, stdout: Buffer.from("canary"), stderr: "" };
        },
      }),
    );
    const refs = Array.from({ length: 20 }, () => refTo(["op"]));

    const answer = provider.fetch(refs, new AbortController().signal);
    await until("eight run", () => waiting.length === 8);
    waiting[0]?.();
    await until("the next one runs", () => waiting.length === 9);
    for (let next = 1; next < 20; next++) {
      await until("one more runs", () => waiting.length > next);
      waiting[next]?.();
    }

    expect((await answer).size).toBe(20);
  });
});

describe("a program that fails", () => {
  it("is not found: says what a desktop application has to do with it", async () => {
    const within = context({ env: { PATH: "/usr/bin:/bin", HOME: dir } });

    expect(await read(["no-such-program-here"], {}, within)).toMatchObject({
      failure: "unavailable",
      reason: "there is no program no-such-program-here",
      hint: expect.stringContaining("its absolute path"),
    });
  });

  it("is only there without permission to run it: does not take the name for a file", async () => {
    await writeFile(join(dir, "plain-program"), "#!/bin/sh\n", { mode: 0o600 });
    const within = context({ env: { PATH: `${dir}:/usr/bin:/bin`, HOME: dir } });

    expect(await read(["plain-program"], {}, within)).toMatchObject({
      failure: "unavailable",
      reason: "there is no program plain-program on PATH that this user may run",
      hint: "its absolute path, or chmod +x for the file that `type -a plain-program` shows",
    });
  });

  it("is not executable: says how to mend it", async () => {
    const path = join(dir, "plain");
    await writeFile(path, "#!/bin/sh\n", { mode: 0o600 });

    expect(await read([path])).toMatchObject({
      failure: "denied",
      reason: `${path} is not executable`,
      hint: `chmod +x ${path}`,
    });
  });

  it("exits with a code: quotes what it said last", async () => {
    expect(await read(shell("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3"))).toMatchObject({
      failure: "unavailable",
      reason: "sh exited with code 3: line 3 | line 4 | line 5 | line 6 | line 7",
      hint: "the same command in a terminal",
    });
  });

  it("is killed: names the signal", async () => {
    expect(await read(shell("kill -KILL $$"))).toMatchObject({
      failure: "unavailable",
      reason: "sh was killed by SIGKILL",
    });
  });

  it("does not end: is stopped after its timeout", async () => {
    const clock = new VirtualClock();
    const answer = read(
      shell("echo waiting for a password >&2; touch started; exec sleep 300"),
      { timeout: "30s" },
      context({ runProgram: createProgramRunner(clock) }),
    );
    let started = false;
    await until("it has started", () => {
      void readFile(join(dir, "started")).then(
        () => {
          started = true;
        },
        () => undefined,
      );
      return started;
    });

    await clock.advance(30_000);

    expect(await answer).toMatchObject({
      failure: "unavailable",
      reason: expect.stringMatching(/^sh did not end within 30s/),
      hint: expect.stringContaining("timeout: 60s"),
    });
  });
});

describe("what is quoted of a failed program", () => {
  it("holds nothing that it printed as its secret, in whole, in lines or encoded", async () => {
    const script = `
      value='canary-first line
canary/second "line"'
      printf '%s\\n' "$value"
      { printf 'got %s\\n' "$value"; echo 'json: canary/second \\"line\\"'; echo 'uri: canary%2Fsecond%20%22line%22'; } >&2
      exit 1`;

    const answer = await read(shell(script));

    expect(answer).toMatchObject({
      reason: expect.stringMatching(/^sh exited with code 1: got \[mcp-run:hidden\]/),
    });
    expect(printed(answer)).not.toContain("canary");
  });

  it("holds no secret that was known before", async () => {
    const known = [new Secret("canary-token"), new Secret("e")];
    const within = context({ quotable: (text, values) => quotable(text, [...known, ...values]) });

    const answer = await read(shell("echo 'bad token canary-token here' >&2; exit 1"), {}, within);

    expect(answer).toMatchObject({ reason: "sh exited with code 1: bad token [mcp-run:hidden] here" });
  });

  it.each([
    ["in base64", "printf %s $value | base64"],
    ["in hex", "printf %s $value | od -An -v -tx1 | tr -d ' \\n'"],
    ["cut off at the end", "printf %.20s $value"],
  ])("holds nothing that it printed as its secret %s", async (_how, leak) => {
    const answer = await read(shell(`value=canary-7f3a91c2d4e8b6; echo $value; ${leak} >&2; exit 1`));

    expect(answer).toMatchObject({ reason: "sh exited with code 1: [mcp-run:hidden]" });
  });

  it("holds no field of the JSON document that it printed", async () => {
    const script = `echo '{"a":[{"token":"canary-json"}]}'; echo 'refused: canary-json' >&2; exit 1`;

    const answer = await read(shell(script));

    expect(answer).toMatchObject({ reason: "sh exited with code 1: refused: [mcp-run:hidden]" });
  });

  it.each(["password=canary-s3cret", "--token canary-s3cret", "using ghp_canary123456"])(
    "holds nothing that looks like a credential, though only stderr had it: %s",
    async (said) => {
      const answer = await read(shell(`echo '${said}' >&2; exit 1`));

      expect(answer).toMatchObject({ reason: expect.stringMatching(/ \S+[ =]\*{8}$/) });
    },
  );

  it("is nothing when it printed more than could be looked for", async () => {
    const script = "head -c 70000 /dev/zero | tr '\\0' x; echo 'canary' >&2; exit 1";

    expect(await read(shell(script))).toMatchObject({ reason: "sh exited with code 1" });
  });

  it("can't steer a terminal", async () => {
    const answer = await read(shell("printf 'red \\033[31m bell \\007 back \\rover\\n' >&2; exit 1"));

    expect(answer).toMatchObject({
      reason: "sh exited with code 1: red \\e[31m bell \\u0007 back \\rover",
    });
  });

  it("is short, however long the line is", async () => {
    const answer = (await read(shell("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1"))) as {
      reason: string;
    };

    expect(answer.reason).toBe(`sh exited with code 1: ${"x".repeat(200)}…`);
  });
});

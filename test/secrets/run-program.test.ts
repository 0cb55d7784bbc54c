import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProgramRequest } from "../../src/secrets/program.ts";
import { createProgramRunner, runProgram } from "../../src/secrets/run-program.ts";
import { VirtualClock } from "../helpers/virtual-clock.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mcp-run-program-"));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function program(
  argv: readonly [string, ...string[]],
  overrides: Partial<ProgramRequest> = {},
): ProgramRequest {
  return {
    argv,
    timeoutMs: 15_000,
    maxOutputBytes: 1024 * 1024,
    env: { PATH: process.env.PATH ?? "" },
    signal: new AbortController().signal,
    ...overrides,
  };
}

function node(script: string, ...args: string[]): [string, ...string[]] {
  return [process.execPath, "-e", script, "--", ...args];
}

/** Waits for a file that a program writes when it has come that far. */
async function written(path: string): Promise<string> {
  for (let attempt = 0; attempt < 3_000; attempt++) {
    const text = await readFile(path, "utf8").catch(() => "");
    if (text.endsWith("\n")) return text.trim();
    await sleep(10);
  }
  throw new Error(`${path} was never written`);
}

async function isGone(pid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 3_000; attempt++) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    // A killed process whose new parent has not reaped it yet is gone for every purpose but this probe.
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    if (/\) [ZX] /.test(stat)) return true;
    await sleep(10);
  }
  return false;
}

describe("what the program gets", () => {
  it("is its arguments as they are, through no shell", async () => {
    const args = ["a b", "'\"", "$HOME", "`id`", "*", "back\\slash", "new\nline", "🔑", ""];

    const outcome = await runProgram(
      program(node("process.stdout.write(JSON.stringify(process.argv.slice(1)))", ...args)),
    );

    expect(outcome).toMatchObject({ type: "exited", exitCode: 0 });
    expect(JSON.parse(String(outcome.type === "exited" && outcome.stdout))).toEqual(args);
  });

  it("is the environment that was asked for and nothing else", async () => {
    const outcome = await runProgram(
      program(node("process.stdout.write(JSON.stringify(process.env))"), { env: { ONLY: "canary-env" } }),
    );

    expect(JSON.parse(String(outcome.type === "exited" && outcome.stdout))).toEqual({ ONLY: "canary-env" });
  });

  it("is an empty stdin", async () => {
    const outcome = await runProgram(program(["cat"]));

    expect(outcome).toMatchObject({ type: "exited", exitCode: 0, stdout: Buffer.alloc(0) });
  });

  it("is the input, whole, where there is one", async () => {
    const input = "canary-input ü\n".repeat(50_000);

    const outcome = await runProgram(program(["cat"], { input }));

    expect(outcome.type === "exited" && outcome.stdout.toString()).toBe(input);
  });

  it("may be left unread", async () => {
    const outcome = await runProgram(program(["true"], { input: "x".repeat(1024 * 1024) }));

    expect(outcome).toMatchObject({ type: "exited", exitCode: 0 });
  });
});

describe("how it ends", () => {
  it("with the exit code, the output and the end of stderr", async () => {
    const outcome = await runProgram(
      program(
        node("process.stderr.write('why\\n'); process.stdout.write('canary-out\\n'); process.exitCode = 7"),
      ),
    );

    expect(outcome).toEqual({
      type: "exited",
      exitCode: 7,
      stdout: Buffer.from("canary-out\n"),
      stderr: "why\n",
    });
  });

  it("with a large output that arrives whole", async () => {
    const outcome = await runProgram(program(["head", "-c", "1048576", "/dev/zero"]));

    expect(outcome.type === "exited" && outcome.stdout.length).toBe(1_048_576);
  });

  it("with the name of the signal that killed it", async () => {
    const outcome = await runProgram(program(["sh", "-c", "echo why >&2; kill -SEGV $$"]));

    expect(outcome).toEqual({
      type: "killed",
      signal: "SIGSEGV",
      stdout: Buffer.alloc(0),
      stderr: "why\n",
    });
  });

  it("with only whole lines of the last 64 KiB of a long stderr", async () => {
    const outcome = await runProgram(
      program(node("process.stderr.write('a long line\\n'.repeat(30_000) + 'the end')")),
    );

    const { stderr } = outcome as { stderr: string };
    expect(stderr.length).toBeLessThanOrEqual(64 * 1024);
    expect(stderr.length).toBeGreaterThan(63 * 1024);
    expect(stderr.split("\n").slice(0, -1)).toSatisfy((lines: string[]) =>
      lines.every((line) => line === "a long line"),
    );
    expect(stderr.endsWith("\nthe end")).toBe(true);
  });

  it("with nothing of a single line that is longer than what is kept", async () => {
    const outcome = await runProgram(program(node("process.stderr.write('canary-'.repeat(30_000))")));

    expect(outcome).toMatchObject({ type: "exited", stderr: "" });
  });

  it("never begins when the program is not there", async () => {
    const outcome = await runProgram(program([join(dir, "nothing-here")]));

    expect(outcome).toEqual({ type: "not-started", code: "ENOENT" });
  });

  it("never begins when the file is not executable", async () => {
    const path = join(dir, "plain-file");
    await writeFile(path, "#!/bin/sh\n");
    await chmod(path, 0o644);

    const outcome = await runProgram(program([path]));

    expect(outcome).toEqual({ type: "not-started", code: "EACCES" });
  });

  it("never begins when an argument can't be passed on", async () => {
    const outcome = await runProgram(program(["true", "nul\0byte"]));

    expect(outcome).toEqual({ type: "not-started", code: "EINVAL" });
  });

  it("with the program, although a grandchild keeps its pipes open", async () => {
    const script = `sleep 300 & echo $! > '${dir}/pid'; printf canary-value`;

    const outcome = await runProgram(program(["sh", "-c", script]));

    expect(outcome).toMatchObject({ type: "exited", exitCode: 0, stdout: Buffer.from("canary-value") });
    process.kill(Number(await written(`${dir}/pid`)), "SIGKILL");
  });
});

describe("when our patience ends", () => {
  /** Ignores TERM, as its child does, and tells both pids. */
  const stubborn = () =>
    program(
      [
        "sh",
        "-c",
        `trap '' TERM; sh -c "trap '' TERM; echo \\$\\$ > ${dir}/grandchild; sleep 300" & echo $$ > ${dir}/child; wait`,
      ],
      { timeoutMs: 10_000 },
    );
  const pids = async () => [
    Number(await written(join(dir, "child"))),
    Number(await written(join(dir, "grandchild"))),
  ];

  it("by time, the whole group is killed", async () => {
    const clock = new VirtualClock();
    const outcome = createProgramRunner(clock)(stubborn());
    const [child, grandchild] = await pids();

    await clock.advance(9_999);
    expect(() => process.kill(child ?? 0, 0)).not.toThrow();
    await clock.advance(1);

    expect(await outcome).toEqual({ type: "timed-out", stdout: Buffer.alloc(0), stderr: "" });
    expect(await isGone(child ?? 0)).toBe(true);
    expect(await isGone(grandchild ?? 0)).toBe(true);
  });

  it("by an abort, the whole group is killed and the reason is thrown", async () => {
    const abort = new AbortController();
    const outcome = createProgramRunner(new VirtualClock())({ ...stubborn(), signal: abort.signal });
    const [child, grandchild] = await pids();
    const reason = new Error("enough");

    abort.abort(reason);

    await expect(outcome).rejects.toBe(reason);
    expect(await isGone(child ?? 0)).toBe(true);
    expect(await isGone(grandchild ?? 0)).toBe(true);
  });

  it("before it began, nothing is started", async () => {
    const reason = new Error("enough");

    const outcome = runProgram(
      program(["sh", "-c", `echo started > ${dir}/started`], { signal: AbortSignal.abort(reason) }),
    );

    await expect(outcome).rejects.toBe(reason);
    await expect(readFile(join(dir, "started"))).rejects.toThrow("ENOENT");
  });

  it("by too much output, the program is killed and no more than the bound is kept", async () => {
    const outcome = await runProgram(
      program(["sh", "-c", `echo $$ > ${dir}/child; while :; do echo canary-flood; done`], {
        maxOutputBytes: 100_000,
      }),
    );

    expect(outcome).toMatchObject({ type: "output-too-large", stderr: "" });
    expect((outcome as { stdout: Buffer }).stdout.length).toBeLessThanOrEqual(100_000);
    expect(await isGone(Number(await written(join(dir, "child"))))).toBe(true);
  });
});

/**
 * Runs a program for a provider: an argv list, never a shell, in a process group of its own that is killed
 * as a whole when its time, its output or our patience is used up. It settles as soon as the program itself
 * has ended, even if a grandchild keeps the pipes open. What the program prints goes to the caller only.
 */
import type { Readable } from "node:stream";
import { type Clock, systemClock, type Timer } from "../clock.ts";
import { systemErrorCode } from "../errors.ts";
import type { ProgramOutcome, ProgramRequest, ProgramRunner } from "./program.ts";
import { silently } from "./silent-spawn.ts";

/** Bytes of stderr that are kept, from its end. */
const STDERR_BYTES = 64 * 1024;
/** Ms of silence after which an open pipe holds nothing more of a program that has ended. */
const QUIET_MS = 100;

/** Runs programs by real time. */
export const runProgram: ProgramRunner = createProgramRunner(systemClock);

/** @param clock measures `timeoutMs` */
export function createProgramRunner(clock: Clock): ProgramRunner {
  return async (request) => {
    const { execa } = await import("execa");
    request.signal.throwIfAborted();
    if (request.argv.some((word) => word.includes("\0"))) return { type: "not-started", code: "EINVAL" };
    const [file, ...args] = request.argv;
    const program = silently(() =>
      execa(file, args, {
        env: request.env,
        extendEnv: false,
        ...(request.cwd !== undefined && { cwd: request.cwd }),
        ...(request.input === undefined ? { stdin: "ignore" } : { input: request.input }),
        detached: process.platform !== "win32",
        cleanup: false,
        buffer: false,
        encoding: "buffer",
        reject: false,
        // Its default follows NODE_DEBUG, which would print arguments and output.
        verbose: "none",
      }),
    );
    if (program.pid === undefined) return { type: "not-started", code: (await program).code ?? "UNKNOWN" };
    return new Promise<ProgramOutcome>((resolve, reject) => {
      watch(program, request, clock, resolve, reject);
    });
  };
}

/** What is used here of an execa subprocess. */
interface Program {
  readonly pid?: number | undefined;
  readonly stdin: { destroy(): unknown } | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  once(event: "exit", listener: (exitCode: number | null, signal: string | null) => void): unknown;
  unref(): void;
}

type ProgramEnd = { readonly exitCode: number | null; readonly signal: string | null };

function watch(
  program: Program,
  request: ProgramRequest,
  clock: Clock,
  resolve: (outcome: ProgramOutcome) => void,
  reject: (reason: unknown) => void,
): void {
  const { pid, stdin, stdout, stderr } = program;
  const output: Buffer[] = [];
  let outputBytes = 0;
  let complaints = Buffer.alloc(0);
  let isCut = false;
  let chunks = 0;
  let openPipes = 2;
  let end: ProgramEnd | undefined;
  let settled = false;
  let quiet: Timer | undefined;

  /** Lets go of everything; a program that still runs is killed with its group. */
  const letGo = () => {
    settled = true;
    timer.cancel();
    quiet?.cancel();
    request.signal.removeEventListener("abort", onAbort);
    if (pid !== undefined && !end) killGroup(pid);
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
    program.unref();
  };
  const said = () => {
    const text = complaints.toString();
    // The line that was cut may begin in the middle of a secret that nobody would recognize.
    const stderr = isCut ? text.slice(text.indexOf("\n") + 1 || text.length) : text;
    return { stdout: Buffer.concat(output), stderr };
  };
  const fail = (type: "timed-out" | "output-too-large") => {
    letGo();
    resolve({ type, ...said() });
  };
  const onAbort = () => {
    letGo();
    reject(request.signal.reason);
  };
  const finish = ({ exitCode, signal }: ProgramEnd) => {
    letGo();
    if (exitCode === null) resolve({ type: "killed", signal: signal ?? "unknown", ...said() });
    else resolve({ type: "exited", exitCode, ...said() });
  };
  /** A pipe that stays open belongs to a grandchild: what the program itself wrote is in it already. */
  const finishWhenQuiet = (ended: ProgramEnd) => {
    const seen = chunks;
    quiet = clock.after(QUIET_MS, () =>
      setImmediate(() => (seen === chunks ? finish(ended) : finishWhenQuiet(ended))),
    );
  };

  const timer = clock.after(request.timeoutMs, () => fail("timed-out"));
  request.signal.addEventListener("abort", onAbort, { once: true });
  stdout.on("data", (chunk: Buffer) => {
    chunks++;
    outputBytes += chunk.length;
    if (outputBytes <= request.maxOutputBytes) output.push(chunk);
    else fail("output-too-large");
  });
  stderr.on("data", (chunk: Buffer) => {
    chunks++;
    const all = Buffer.concat([complaints, chunk]);
    isCut ||= all.length > STDERR_BYTES;
    complaints = all.subarray(-STDERR_BYTES);
  });
  for (const stream of [stdout, stderr]) {
    stream.once("close", () => {
      openPipes--;
      if (openPipes === 0 && end && !settled) finish(end);
    });
  }
  program.once("exit", (exitCode, signal) => {
    end = { exitCode, signal };
    if (settled) return;
    if (openPipes === 0) finish(end);
    else finishWhenQuiet(end);
  });
}

function killGroup(pid: number): void {
  if (process.platform === "win32") {
    void import("execa").then(({ execa }) =>
      execa("taskkill", ["/pid", String(pid), "/t", "/f"], {
        reject: false,
        stdio: "ignore",
        verbose: "none",
      }),
    );
    return;
  }
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // ESRCH: it ended meanwhile. EPERM: only members that changed their user are left.
    if (!["ESRCH", "EPERM"].includes(systemErrorCode(error) ?? "")) throw error;
  }
}

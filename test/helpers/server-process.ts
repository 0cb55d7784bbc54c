/**
 * A real server of the tests as a process: started with a home of its own and nothing else of this environment but the
 * PATH, waited for until it answers, and ended by its own pid together with that home.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";

/** Two starts of it are within the time that a hook has. */
const READY_MS = 120_000;
/** After which one look whether it answers counts as a no. */
const LOOK_MS = 10_000;
const STOP_MS = 15_000;
/** Characters of what it has said that an error quotes. */
const QUOTED = 2_000;

export interface ServerCommand {
  readonly program: string;
  readonly args: readonly string[];
  /** A folder that goes when the server is stopped. */
  readonly home: string;
  readonly cwd?: string;
  /** Besides HOME and PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** Runs as this user, which only root can have. */
  readonly uid?: number;
  readonly gid?: number;
}

export class ServerProcess {
  readonly home: string;
  readonly #process: ChildProcess;
  readonly #program: string;
  #failure: Error | undefined;

  constructor({ program, args, home, cwd, env, uid, gid }: ServerCommand) {
    this.home = home;
    this.#program = program;
    // Its log would fill a pipe that nobody reads.
    const output = openSync(this.#output, "a");
    this.#process = spawn(program, args, {
      ...(cwd && { cwd }),
      env: { HOME: home, PATH: process.env.PATH, ...env },
      stdio: ["ignore", output, output],
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
    closeSync(output);
    this.#process.on("error", (error) => {
      this.#failure = error;
    });
  }

  /**
   * Throws if the server has ended, or isn't ready within `ms`, with what it has said. A rejection of `isReady` is a no,
   * and so is silence.
   */
  async untilReady(isReady: () => Promise<boolean>, ms = READY_MS): Promise<void> {
    const look = async () => {
      if (this.#failure) throw this.#failure;
      const { exitCode, signalCode } = this.#process;
      const end = exitCode ?? signalCode;
      if (end !== null) throw new Error(`it has ended with ${end}`);
      return within(LOOK_MS, isReady());
    };
    await until("it is ready", look, ms).catch((cause: Error) => {
      throw new Error(`${this.#program}: ${cause.message}; it has said: ${this.#said}`, { cause });
    });
  }

  get #output(): string {
    return join(this.home, "output");
  }

  get #said(): string {
    return readFileSync(this.#output, "utf8").slice(-QUOTED);
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Like stop, and what is in its home stays. */
  async end(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      const exited = once(this.#process, "exit");
      this.#process.kill("SIGTERM");
      const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS);
      await exited;
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    await this.end();
    // A process of a server that was killed may be writing there for a moment.
    await rm(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** What `isTrue` says, or no if that rejects or takes longer. */
function within(ms: number, isTrue: Promise<boolean>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    isTrue
      .catch(() => false)
      .then((answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
  });
}

/** The server that `start` gives, at its second try if need be: another may have taken the port of the first one. */
export async function startedAtLast<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    process.stderr.write(
      `A server is started once more: ${error instanceof Error ? error.message : error}\n`,
    );
    return start();
  }
}

/** The server, once `prepare` is through; it is stopped if that throws. */
export async function prepared<T extends { stop(): Promise<void> }>(
  server: T,
  prepare: () => Promise<void>,
): Promise<T> {
  try {
    await prepare();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

const FIRST_PORT = 10_240;
/** Other test files take theirs at the same time: each worker of a run has ports of its own. */
const LANES = 8;
/** Of a lane; all are below those that the system gives to whoever asks for any, and to each connection. */
const PORTS = (32_768 - FIRST_PORT) / LANES;
const FIRST_OF_LANE = FIRST_PORT + (Number(process.env.VITEST_POOL_ID ?? 0) % LANES) * PORTS;
/** Another run may be under way: each begins somewhere else. */
let nextPort = process.pid * 97;

/** A port of loopback that is free, stays so while nobody listens there, and is never given twice by this process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS; tries++) {
    const port = FIRST_OF_LANE + (nextPort++ % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error("no port is free");
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}

/** Waits for a condition at a server, at most `ms`. */
export async function until(what: string, condition: () => Promise<boolean>, ms = READY_MS): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * A real server of the tests as a process: started with a home of its own and nothing else of this environment but the
 * PATH, waited for until it answers, and ended by its own pid together with that home.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";

const READY_MS = 60_000;
const STOP_MS = 15_000;

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
  #failure: Error | undefined;

  constructor({ program, args, home, cwd, env, uid, gid }: ServerCommand) {
    this.home = home;
    // Standard streams are closed: its log would fill a pipe that nobody reads.
    this.#process = spawn(program, args, {
      ...(cwd && { cwd }),
      env: { HOME: home, PATH: process.env.PATH, ...env },
      stdio: "ignore",
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
    this.#process.on("error", (error) => {
      this.#failure = error;
    });
  }

  /** Throws if the server has ended, or isn't ready within `ms`. A rejection of `isReady` is a no. */
  async untilReady(isReady: () => Promise<boolean>, ms = READY_MS): Promise<void> {
    const look = async () => {
      if (this.#failure) throw this.#failure;
      const { exitCode } = this.#process;
      if (exitCode !== null) throw new Error(`the server has ended with ${exitCode}`);
      return isReady().catch(() => false);
    };
    await until("the server is ready", look, ms);
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

/** The built program between a client of an official SDK and a server, with a secret in a file that a test rewrites. */
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { Installation, MAIN } from "../helpers/installation.ts";
import { isAlive, until } from "../helpers/processes.ts";
import {
  type Connected,
  connectLegacy,
  connectModern,
  type Load,
  type Traffic,
} from "../helpers/sdk-clients.ts";

export const LOAD_SERVER = join(import.meta.dirname, "../helpers/servers/load.mjs");

/** Characters. */
const LARGE = 300_000;

// The SDK's client waits with one listener for each message that its pipe has no room for.
EventEmitter.defaultMaxListeners = 1000;

type Legacy = Awaited<ReturnType<typeof connectLegacy>>["client"];
type Modern = Awaited<ReturnType<typeof connectModern>>["client"];
export type Era = "legacy" | "modern";

export interface ProgramOptions<Given extends Era> {
  readonly era: Given;
  /** The server's arguments to node. */
  readonly args?: readonly string[];
  /** The name of the secret's variable. */
  readonly variable?: string;
  /** More keys of the profile. */
  readonly profile?: object;
}

/** A home with one profile, `soak`, whose secret is in a file. */
export class SoakHome {
  readonly installation = new Installation();
  /** Stands in the environment of every server, and nowhere else. */
  readonly mark = `soak-${randomUUID()}`;
  #rotations = 0;
  #value = "";

  constructor({
    args = [LOAD_SERVER],
    variable = "SECRET",
    profile = {},
  }: Partial<ProgramOptions<Era>> = {}) {
    this.rotate();
    this.installation.profile(
      "soak",
      JSON.stringify({
        command: process.execPath,
        args,
        env: { SOAK_MARK: this.mark },
        secrets: { [variable]: `file:${join(this.installation.home, "secret")}` },
        refresh: { restart: "overlap", drain: "20s" },
        ...profile,
      }),
    );
  }

  /** Gives the secret another value, in one step, and returns it. Nobody is told. */
  rotate(): string {
    this.#value = `canary-soak-${++this.#rotations}-${randomUUID()}`;
    renameSync(this.installation.write("secret.new", this.#value), join(this.installation.home, "secret"));
    return this.#value;
  }

  get value(): string {
    return this.#value;
  }

  /** The pids of the servers that live. */
  servers(): number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => environmentOf(pid).includes(this.mark))
      .map(Number);
  }
}

export interface Program<Client> extends Connected<Client> {
  readonly home: SoakHome;
  /** Of mcp-run. */
  readonly pid: number;
  /** How many servers have served so far, by what mcp-run says. */
  generations(): number;
  /** What mcp-run and the servers said on stderr. */
  err(): string;
  /** Changes the secret, has mcp-run look, and waits until another server has taken over. Gives the new value. */
  swap(): Promise<string>;
  /** The same for load.mjs, which also has to say that it has the new value. Gives the server's pid. */
  rotate(): Promise<number>;
  /** Ends the session; throws if a process is left over. */
  close(): Promise<void>;
}

export async function startProgram<Given extends Era>(
  options: ProgramOptions<Given>,
): Promise<Program<Given extends "legacy" ? Legacy : Modern>> {
  const home = new SoakHome(options);
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, "soak"],
    env: home.installation.env,
    stderr: "pipe",
    maxBufferSize: 64 * 1_048_576,
  });
  const chunks: Buffer[] = [];
  transport.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const err = () => Buffer.concat(chunks).toString();
  const connected = await (options.era === "legacy" ? connectLegacy : connectModern)(transport);
  const pid = transport.pid as number;
  const generations = () => announcements(err());
  await until("the first server is announced", () => generations() === 1);
  const swap = async () => {
    const value = home.rotate();
    const number = generations() + 1;
    process.kill(pid, "SIGUSR2");
    await until(`generation ${number} is announced`, () => generations() >= number);
    return value;
  };
  return {
    ...(connected as Connected<Given extends "legacy" ? Legacy : Modern>),
    home,
    pid,
    generations,
    err,
    swap,
    rotate: async () => {
      const value = await swap();
      const { secret, pid: server } = (await connected.call("who")) as { secret: string; pid: number };
      if (secret !== value) throw new Error(`${server} has another secret than ${value}`);
      return server;
    },
    close: async () => {
      const ours = [...home.servers(), ...childrenOf(pid), pid];
      await connected.client.close();
      await until("no process is left over", () => !ours.some(isAlive) && home.servers().length === 0);
      home.installation.remove();
    },
  };
}

/** A request whose answer no other request has; every fortieth takes long, so that old servers have to be waited for. */
export function ask({ call }: Pick<Connected<unknown>, "call">) {
  return async (number: number): Promise<string | undefined> => {
    const value = answerTo(number);
    const said = await call("wait", { ms: number % 40 === 0 ? 200 : number % 20, value });
    return said === value
      ? undefined
      : `${JSON.stringify(said).slice(0, 100)} instead of ${value.slice(0, 100)}`;
  };
}

/** What the request of this number is answered; every fiftieth is large. */
export function answerTo(number: number): string {
  return `answer ${number}${number % 50 === 7 ? "x".repeat(LARGE) : ""}`;
}

/** One line for who reads the figures. */
export function show(what: string, { count, perSecond, slowest, wrong }: Load): void {
  const figures = `${count} requests, ${perSecond.toFixed(0)}/s, slowest ${slowest.toFixed(0)} ms, ${wrong.length} errors`;
  process.stdout.write(`${what}: ${figures}\n`);
}

interface Numbered {
  readonly pid: number;
  readonly number: number;
  readonly value: string;
}

/** What is wrong with the numbered notifications of load.mjs: one is missing, doubled, or in another order. */
export function lostNotifications(traffic: Traffic, expected: readonly string[]): string[] {
  const faults: string[] = [];
  const last = new Map<number, number>();
  const values = new Set<string>();
  for (const { params } of traffic.notifications("notifications/message")) {
    const { pid, number, value } = (params as { data: Numbered }).data;
    if (number !== (last.get(pid) ?? 0) + 1) faults.push(`${pid}: ${number} after ${last.get(pid) ?? 0}`);
    if (values.has(value)) faults.push(`${value} twice`);
    last.set(pid, number);
    values.add(value);
  }
  for (const value of expected) if (!values.has(value)) faults.push(`${value} is missing`);
  return faults;
}

/** How often mcp-run has named a server that serves now. */
function announcements(text: string): number {
  return text.split("\n").filter((line) => /^mcp-run: .*generation \d+ (started|has taken)/.test(line))
    .length;
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return "";
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
}

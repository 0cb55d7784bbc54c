/**
 * The built mcp-run with the server of servers/keyed.mjs, and a client of the official SDK that asks it for its KEY.
 * It can be looked through for values that should be nowhere but in the server.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { type Installation, MAIN } from "./installation.ts";
import { isAlive, killAll, until } from "./processes.ts";
import { ProgramTransport } from "./program-transport.ts";
import { PATIENTLY } from "./sdk-clients.ts";

export const SERVER = join(import.meta.dirname, "servers/keyed.mjs");
/** Ms. */
const LONGEST_WAIT = 120_000;

export interface Told {
  /** Of the server. */
  readonly pid: number;
  readonly key: string;
  /** What it has read from KEY_FILE. */
  readonly fromFile?: string;
}

export interface SessionOptions {
  /** Of the profile, or the path of its file. */
  readonly name?: string;
  /** For mcp-run, beside the installation's. */
  readonly env?: Readonly<Record<string, string>>;
  /** What the client calls itself. */
  readonly clientName?: string;
}

export interface SessionStart extends SessionOptions {
  /** See keyedProfile. */
  readonly before?: string;
}

/**
 * A whole profile of this server.
 *
 * @param keys YAML beside the command: `secrets:` and what else it needs
 * @param before what the server runs first, in JavaScript
 */
export function keyedProfile(keys: string, before?: string): string {
  const args = before === undefined ? [SERVER] : ["-e", `${before}; import(${JSON.stringify(SERVER)})`];
  return `version: 1\ncommand: node\nargs: ${JSON.stringify(args)}\n${keys}`;
}

export class KeyedSession {
  readonly #installation: Installation;
  readonly client: Client;
  readonly #servers = new Set<number>();
  readonly #log: () => string;
  /** Of mcp-run. */
  readonly pid: number;

  /** Begins a session with a profile, which is written for it: see keyedProfile. */
  static start(
    installation: Installation,
    keys: string,
    { before, ...options }: SessionStart = {},
  ): Promise<KeyedSession> {
    installation.profile(options.name ?? "p", keyedProfile(keys, before));
    return KeyedSession.of(installation, options);
  }

  /** Begins a session with a profile that is there. */
  static async of(
    installation: Installation,
    { name = "p", env = {}, clientName = "test" }: SessionOptions = {},
  ): Promise<KeyedSession> {
    const transport = new ProgramTransport({
      command: process.execPath,
      args: [MAIN, name],
      env: { ...installation.env, ...env },
    });
    let log = "";
    transport.stderr.on("data", (chunk) => {
      log += chunk;
    });
    const client = new Client({ name: clientName, version: "1.0.0" });
    await client.connect(transport, PATIENTLY).catch((error: unknown) => {
      throw new Error(`the session did not begin: ${log}`, { cause: error });
    });
    return new KeyedSession(installation, client, transport.pid, () => log);
  }

  private constructor(installation: Installation, client: Client, pid: number, log: () => string) {
    this.#installation = installation;
    this.client = client;
    this.#log = log;
    this.pid = pid;
  }

  /** What mcp-run has said on stderr. */
  get log(): string {
    return this.#log();
  }

  /** Resolves when others can see it, or it has said why they can't. */
  async canBeSeen(): Promise<void> {
    const isSeen = () => this.#installation.has(`state/run/${this.pid}.sock`);
    const isThere = () => isSeen() || this.log.includes("will not show");
    await until("others can see it", isThere, LONGEST_WAIT);
  }

  /** As an operator does after a change. */
  refresh(): void {
    process.kill(this.pid, "SIGUSR2");
  }

  async ask(): Promise<Told> {
    const answer = await this.client.callTool({ name: "key" }, undefined, PATIENTLY);
    const { content } = answer as { content: { text: string }[] };
    const told = JSON.parse(content[0]?.text ?? "") as Told;
    this.#servers.add(told.pid);
    return told;
  }

  /** Asks until the answer is as it should be. */
  async askUntil(what: string, isAsExpected: (told: Told) => boolean): Promise<Told> {
    for (const end = performance.now() + LONGEST_WAIT; performance.now() < end; ) {
      const told = await this.ask();
      if (isAsExpected(told)) return told;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`asked in vain for ${what}; mcp-run has said: ${this.log}`);
  }

  /** Asks until the server has this key, in the same session. */
  has(key: string): Promise<Told> {
    return this.askUntil(`another key`, (told) => told.key === key);
  }

  /** Waits for a text on stderr. */
  async says(text: string | RegExp): Promise<void> {
    const isThere = () => (typeof text === "string" ? this.log.includes(text) : text.test(this.log));
    await until(`${text} on stderr`, isThere, LONGEST_WAIT).catch((error: unknown) => {
      throw new Error(`mcp-run has said: ${this.log}`, { cause: error });
    });
  }

  /**
   * Where one of these values can be seen, but for the server's own environment: stderr, files of mcp-run, command
   * lines, the environment of mcp-run.
   */
  placesWith(values: readonly string[]): readonly string[] {
    return values.flatMap((value) => [
      ...(this.log.includes(value) ? ["stderr"] : []),
      ...this.#installation.filesWith(value),
      ...commandLines().filter((line) => line.includes(value)),
      ...(readFileSync(`/proc/${this.pid}/environ`, "utf8").includes(value) ? ["environ"] : []),
    ]);
  }

  /** Resolves when mcp-run and every server that has answered are gone. */
  async close(): Promise<void> {
    await this.client.close();
    const pids = [this.pid, ...this.#servers];
    await until("nothing is left", () => !pids.some(isAlive)).catch((error: unknown) => {
      killAll(pids);
      throw error;
    });
  }
}

function commandLines(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return []; // It has ended meanwhile.
      }
    });
}

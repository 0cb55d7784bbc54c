/**
 * Several «hosts» on one machine: each a home of its own with the built mcp-run, a name and credentials on the bus, and
 * a profile whose server says which key it has. And the home of an operator, who replaces the key.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { SupervisorStatus } from "../../src/control/protocol.ts";
import { Installation, MAIN, type Ran } from "./installation.ts";
import { isAlive, killAll } from "./processes.ts";
import { ProgramTransport } from "./program-transport.ts";
import { type Connected, connectLegacy } from "./sdk-clients.ts";
import { until } from "./server-process.ts";
import { ROOT_TOKEN, type VaultServer } from "./vault-server.ts";

export const PATIENCE_MS = 120_000;
/** For machines with much to do: a rotation ends as soon as everybody has answered. */
const ACK_TIMEOUT = ["--ack-timeout", "120s"];
/** Where the key lies in Vault, by its API and by a ref. */
export const PATH = "secret/data/mcp/app";
export const REF = "secret/mcp/app#key";
export const OLD = "canary-key-old";

/** Says the hash of its KEY. */
const SERVER = `
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
const key = createHash("sha256").update(process.env.KEY).digest("hex");
const methods = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "one", version: "1" } }),
  "tools/list": () => ({ tools: [{ name: "use", inputSchema: { type: "object" } }] }),
  "tools/call": () => ({ content: [{ type: "text", text: JSON.stringify({ key, variables: Object.keys(process.env) }) }] }),
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (id !== undefined && methods[method])
    process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: methods[method]() }) + "\\n");
});
`;

/** Makes keys, and ends each that it is told to. */
const HOOK = `
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { action, rotation } = JSON.parse(text);
const made = { value: "canary-key-" + rotation, keyId: rotation };
process.stdout.write(JSON.stringify({ find: {}, mint: made, revoke: { revoked: true }, verify: { accepted: false } }[action]));
`;

export interface HostOptions {
  readonly vault: Pick<VaultServer, "url">;
  /** Lines of \`fleet:\` beside \`credentials\` and \`host\`: its servers, its authority. */
  readonly fleet: string;
  readonly credentials: string;
  /** What its profile and its backend are called there. */
  readonly profile?: string;
  readonly provider?: string;
  /** Further lines of its profile. */
  readonly more?: string;
  /** The program of its server, and lines that say what it gets, instead of those here. */
  readonly server?: string;
  readonly secrets?: string;
}

interface Told {
  readonly key: string;
  readonly variables: readonly string[];
}

export const hash = (text: string) => createHash("sha256").update(text).digest("hex");

export class Host {
  readonly home = new Installation();
  readonly name: string;
  readonly profile: string;
  #session: (Connected<unknown> & { readonly pid: number }) | undefined;
  #servers = new Set<number>();
  readonly #rotations: ChildProcess[] = [];
  /** What its supervisor has said on stderr. */
  log = "";

  constructor(
    name: string,
    { vault, fleet, credentials, profile = "p", provider = "vault", more = "", ...own }: HostOptions,
  ) {
    this.name = name;
    this.profile = profile;
    const token = this.home.write("token", ROOT_TOKEN);
    const server = this.home.write("server.mjs", own.server ?? SERVER);
    const hook = this.home.write("hook.mjs", HOOK);
    const nats = this.home.write("nats", credentials);
    this.home.write(
      "config/mcp-run.yaml",
      `version: 1
providers: { ${provider}: { type: vault, address: "${vault.url}", auth: { method: token, token: "file:${token}" } } }
fleet: { ${fleet}, credentials: "file:${nats}", host: ${name} }
profiles:
  ${profile}:
    command: ${process.execPath}
    args: [${server}]
    probe: { tool: use }
    secrets:
${own.secrets ?? `      KEY: { from: "${provider}:${REF}", rotate: { hook: [${process.execPath}, ${hook}] } }`}
${more}`,
    );
  }

  get pid(): number {
    return this.#session?.pid ?? 0;
  }

  async serve(env: Record<string, string> = {}): Promise<void> {
    const transport = new ProgramTransport({
      command: process.execPath,
      args: [MAIN, this.profile],
      env: { ...this.home.env, ...env },
    });
    transport.stderr.on("data", (chunk) => {
      this.log += chunk;
    });
    const connected = await connectLegacy(transport).catch((error: unknown) => {
      throw new Error(`the session did not begin: ${this.log}`, { cause: error });
    });
    this.#session = { ...connected, pid: transport.pid };
    await until(
      "it can be found",
      async () => readdirSync(join(this.home.home, "state/run")).length > 0,
      PATIENCE_MS,
    );
  }

  /** What its server says of itself. */
  async told(): Promise<Told> {
    const told = (await this.#session?.call("use")) as Told | string | undefined;
    if (typeof told !== "object") throw new Error(`the server of ${this.name} says: ${told}`);
    return told;
  }

  run(...args: readonly string[]): Ran {
    return this.home.run(args);
  }

  /** A rotation of `p` that the test does something to meanwhile: all that it has said so far, and its exit code. */
  rotating(...args: readonly string[]): { readonly out: string; readonly ended: Promise<number | null> } {
    const child = spawn(process.execPath, [MAIN, "rotate", "p", ...ACK_TIMEOUT, ...args], {
      env: this.home.env,
      cwd: this.home.home,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#rotations.push(child);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const ran = { out: "", ended };
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        ran.out += chunk;
      });
    return ran;
  }

  status(): SupervisorStatus {
    const seen = this.#seen();
    if (!seen) throw new Error(`nothing runs on ${this.name}: ${this.log}`);
    return seen;
  }

  /** Nothing if it does not answer in time, as on a machine that has much else to do. */
  #seen(): SupervisorStatus | undefined {
    const { stdout } = this.run("status", "--local", "--json");
    if (stdout === "") return undefined;
    return (JSON.parse(stdout) as { supervisors: SupervisorStatus[] }).supervisors[0];
  }

  /** Until its supervisor says this of itself on the bus. */
  async untilOnTheBus(state: string): Promise<void> {
    await until(
      `${this.name} is ${state}: ${this.log}`,
      async () => this.#seen()?.fleet?.state === state,
      PATIENCE_MS,
    );
  }

  async untilItSays(words: RegExp): Promise<void> {
    await until(`${this.name} says ${words}`, async () => words.test(this.log), PATIENCE_MS);
  }

  async end(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    const server = this.#seen()?.serverPid;
    if (server !== undefined) this.#servers.add(server);
    await (session.client as { close(): Promise<void> }).close();
    await until("it has ended", async () => !isAlive(session.pid), PATIENCE_MS);
    this.#session = undefined;
  }

  async close(): Promise<void> {
    const { pid } = this;
    for (const child of this.#rotations) child.kill("SIGKILL");
    try {
      if (pid > 0) {
        // One that was stopped would never end.
        if (isAlive(pid)) process.kill(pid, "SIGCONT");
        await this.end();
      }
    } finally {
      if (pid > 0) killAll([pid, ...this.#servers]);
      this.home.remove();
    }
  }
}

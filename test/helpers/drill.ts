/**
 * A rehearsal of the emergency: an issuer of keys (a folder and a hook), a profile whose servers answer only with a key
 * that the issuer takes, clients that go on asking, and `mcp-run rotate` of the built program.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { closeAll } from "./closings.ts";
import { Gateway } from "./gateway.ts";
import { heard } from "./heard.ts";
import { Installation, MAIN } from "./installation.ts";
import { MOTO_REGION, MotoServer } from "./moto-server.ts";
import { isAlive, killAll, until } from "./processes.ts";
import { ProgramTransport } from "./program-transport.ts";
import { type Connected, connectLegacy, type Load, load } from "./sdk-clients.ts";
import { VaultServer } from "./vault-server.ts";

export const OLD = "canary-key-0-leaked";
export const SIBLING = "canary-sibling";
export const DOCUMENT = { key: OLD, sibling: SIBLING };
/** A few for each client. */
const REQUESTS_PER_SECOND = 60;
export const PATIENCE_MS = 60_000;
/** For machines with much to do: a rotation ends as soon as everybody has answered. */
const ACK_TIMEOUT = ["--ack-timeout", "120s"];

/** Makes and ends the keys of a folder: `valid` has one a line, `calls` what was asked. KILL: dies with who asked. */
export const HOOK = `
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { action, rotation, keyId, value } = JSON.parse(text);
const folder = process.argv[2];
appendFileSync(folder + "/calls", JSON.stringify({ action, rotation }) + "\\n");
const valid = () => readFileSync(folder + "/valid", "utf8").split("\\n").filter(Boolean);
const isMeant = (key) => key === value || (keyId !== undefined && key.startsWith("canary-key-" + keyId));
const made = () => valid().filter((key) => key.startsWith("canary-key-" + rotation)).map((key) => ({ value: key, keyId: rotation }))[0];
const actions = {
  find: () => made() ?? {},
  mint: () => {
    appendFileSync(folder + "/valid", "canary-key-" + rotation + "-" + randomUUID() + "\\n");
    return made();
  },
  revoke: () => {
    if (keyId === undefined && value === undefined) return {};
    // At once: servers read it all the time, and half of it would be a refusal.
    writeFileSync(folder + "/valid-" + process.pid, valid().filter((key) => !isMeant(key)).join("\\n") + "\\n");
    renameSync(folder + "/valid-" + process.pid, folder + "/valid");
    return { revoked: true };
  },
  verify: () => (keyId === undefined && value === undefined ? {} : { accepted: valid().some(isMeant) }),
};
const answer = actions[action]();
if (process.env.KILL === action) process.kill(process.ppid, "SIGKILL");
process.stdout.write(JSON.stringify(answer));
`;

/** Each tool fails unless KEY is valid at the issuer; `probe` is not answered while the folder has a file `hold`. */
export const SERVER = `
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
const { KEY, SIBLING, ISSUER } = process.env;
export const hash = (text) => createHash("sha256").update(text).digest("hex");
const call = async ({ name }) => {
  while (name === "probe" && existsSync(ISSUER + "/hold")) await new Promise((resolve) => setTimeout(resolve, 20));
  const isError = !readFileSync(ISSUER + "/valid", "utf8").split("\\n").includes(KEY);
  const told = { pid: process.pid, key: hash(KEY), sibling: hash(SIBLING) };
  return { isError, content: [{ type: "text", text: isError ? "401" : JSON.stringify(told) }] };
};
const methods = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "drill", version: "1" } }),
  "tools/list": () => ({ tools: ["use", "probe"].map((name) => ({ name, inputSchema: { type: "object" } })) }),
  "tools/call": call,
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined || !methods[method]) return;
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: await methods[method](params) }) + "\\n");
});
`;

export interface Store {
  /** A duration: how long mcp-run asks for a secret. Short where a backend goes away for good. */
  readonly fetchTimeout?: string;
  /** YAML of `providers:`, and the provider's name. */
  readonly providers: string;
  readonly ref: string;
  readonly env: Readonly<Record<string, string>>;
}

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly ms: number;
}

interface Told {
  readonly pid: number;
  readonly key: string;
  readonly sibling: string;
}

type Session = Connected<unknown> & { readonly pid: number; readonly log: () => string };

export const hash = (text: string) => createHash("sha256").update(text).digest("hex");
/** What is ended after the test, the latest first. */
export const closings: (() => Promise<unknown> | unknown)[] = [];

afterEach(() => closeAll(closings));

/** An issuer, an installation with the profiles that use it, and the sessions of their clients. */
export class Drill {
  readonly home = new Installation();
  readonly issuer: string;
  readonly sessions: Session[] = [];
  readonly #store: Store;
  readonly #servers = new Set<number>();

  /** @param issuer one that is there already, with its keys */
  constructor(store: Store, issuer?: string) {
    this.issuer = issuer ?? mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
    this.#store = store;
    closings.push(() => this.#close());
    if (issuer === undefined) this.valid = [OLD];
    this.profile("p", this.issuer);
  }

  /**
   * @param issuer whom its servers believe
   * @param store what it says of where its secrets are
   */
  profile(
    name: string,
    issuer: string,
    grant = ", grantOldValue: true",
    store: Pick<Store, "providers" | "ref"> = this.#store,
  ): void {
    const hook = join(this.issuer, "hook.mjs");
    const server = join(this.issuer, "server.mjs");
    writeFileSync(hook, HOOK);
    writeFileSync(server, SERVER);
    const { providers, ref } = store;
    const { fetchTimeout = "20s" } = this.#store;
    const rotate = `{ hook: [${process.execPath}, ${hook}, ${this.issuer}]${grant} }`;
    this.home.profile(
      name,
      `version: 1
providers: { ${providers} }
command: ${process.execPath}
args: [${server}]
env: { ISSUER: ${issuer} }
probe: { tool: probe }
fetchTimeout: ${fetchTimeout}
secrets:
  KEY: { from: "${ref}#key", rotate: ${rotate} }
  SIBLING: "${ref}#sibling"
`,
    );
  }

  get valid(): readonly string[] {
    return readFileSync(join(this.issuer, "valid"), "utf8").split("\n").filter(Boolean);
  }

  /** At once: servers read it at any moment. */
  set valid(keys: readonly string[]) {
    const file = join(this.issuer, "valid");
    writeFileSync(`${file}-next`, `${keys.join("\n")}\n`);
    renameSync(`${file}-next`, file);
  }

  /** What the hook was asked, for one rotation or for all. */
  asked(rotation?: string): readonly string[] {
    const lines = readFileSync(join(this.issuer, "calls"), "utf8").trim().split("\n");
    const calls = lines.map((line) => JSON.parse(line) as { action: string; rotation: string });
    return calls.filter((call) => rotation === undefined || call.rotation === rotation).map((c) => c.action);
  }

  get env(): Record<string, string> {
    return { ...this.home.env, ...this.#store.env };
  }

  async serve(profile: string, count: number): Promise<void> {
    const started = Array.from({ length: count }, async () => {
      const transport = new ProgramTransport({
        command: process.execPath,
        args: [MAIN, profile],
        env: this.env,
      });
      let log = "";
      transport.stderr.on("data", (chunk) => {
        log += chunk;
      });
      const connected = await connectLegacy(transport).catch((error: unknown) => {
        throw new Error(`the session did not begin: ${log}`, { cause: error });
      });
      this.sessions.push({ ...connected, pid: transport.pid, log: () => log });
    });
    // One that does not begin leaves none that nobody ends.
    await Promise.allSettled(started);
    await Promise.all(started);
    const sockets = () => readdirSync(join(this.home.home, "state/run")).length;
    await until("all can be found", () => sockets() >= this.sessions.length, PATIENCE_MS);
  }

  /** What each server says of its key; throws if one fails. */
  async told(): Promise<readonly Told[]> {
    const told = (await Promise.all(this.sessions.map(({ call }) => call("use")))) as (Told | string)[];
    return told.map((one) => {
      if (typeof one === "string") throw new Error(`a server says: ${one}`);
      this.#servers.add(one.pid);
      return one;
    });
  }

  start(args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [MAIN, "rotate", ...ACK_TIMEOUT, ...args, "--yes"], {
      env: { ...this.env, ...env },
      cwd: this.home.home,
      stdio: ["ignore", "pipe", "pipe"],
    });
    closings.push(() => killAll([child.pid ?? 0]));
    return { child, ended: endOf(child) };
  }

  rotate(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Ended> {
    return this.start(["p", "--reason", "leaked in build log", ...args], env).ended;
  }

  /** A rotation by a person at a terminal, made by script(1), who says yes to its first question. */
  onTerminal(args: readonly string[] = []) {
    const words = [process.execPath, MAIN, "rotate", "p", "--reason", "drill", ...ACK_TIMEOUT, ...args];
    const child = spawn("script", ["-qec", words.map((word) => `'${word}'`).join(" "), "/dev/null"], {
      env: { ...this.env, TERM: "dumb" },
      cwd: this.home.home,
      stdio: ["pipe", "pipe", "pipe"],
    });
    closings.push(() => killAll([child.pid ?? 0]));
    let shown = "";
    const answer = (word: string) => void child.stdin.write(`${word}\n`);
    child.stdout.on("data", (chunk) => {
      const wasAsked = shown.includes("[y/N]");
      shown += chunk;
      if (!wasAsked && shown.includes("[y/N]")) answer("y");
    });
    return { shown: () => shown, answer, ended: endOf(child) };
  }

  /** Another machine with the same profile: a home, journals and servers of its own. */
  elsewhere(): Drill {
    return new Drill(this.#store, this.issuer);
  }

  endAfter(text: string, signal: NodeJS.Signals, args: readonly string[] = []): Promise<Ended> {
    return this.signalAfter(text, signal, args).ended;
  }

  /** A rotation that is sent a signal the moment that it has said this: it does so itself, since nobody else is quick enough. */
  signalAfter(text: string, signal: NodeJS.Signals, args: readonly string[] = []) {
    const end = this.home.write(
      "end-after.cjs",
      `const write = process.stdout.write.bind(process.stdout);
let told = "";
let isDone = false;
process.stdout.write = (text, ...more) => {
  const written = write(text, ...more);
  told += text;
  if (!isDone && told.includes(${JSON.stringify(text)})) {
    isDone = true;
    process.kill(process.pid, ${JSON.stringify(signal)});
  }
  return written;
};
`,
    );
    return this.start(["p", "--reason", "drill", ...args], { NODE_OPTIONS: `--require ${end}` });
  }

  resume(id: string): Promise<Ended> {
    return this.start(["p", "--resume", id]).ended;
  }

  /** All clients go on asking while something happens; also where a key is on a command line meanwhile. */
  async underLoad<T>(
    work: () => Promise<T>,
    perSecond = REQUESTS_PER_SECOND,
    mostOpen?: number,
  ): Promise<{ result: T; traffic: Load; shown: readonly string[] }> {
    const shown = new Set<string>();
    const look = () => {
      for (const line of commandLines()) if (line.includes("canary-key")) shown.add(line);
    };
    const timer = setInterval(look, 100);
    const ask = async (number: number) => {
      const session = this.sessions[number % this.sessions.length];
      const said = (await session?.call("use")) as Told | string;
      return typeof said === "object" ? undefined : said;
    };
    const working = work();
    try {
      const traffic = await load(ask, working, perSecond, mostOpen);
      return { result: await working, traffic, shown: [...shown] };
    } finally {
      clearInterval(timer);
    }
  }

  /** Files of mcp-run, and what its supervisors have said, with a value in it. */
  placesWithValues(): readonly string[] {
    const logs = this.sessions
      .filter(({ log }) => log().includes("canary-"))
      .map(({ pid }) => `log of ${pid}`);
    return [...this.home.filesWith("canary-"), ...logs];
  }

  /** Ends all sessions, and waits until nothing of them is left. */
  async end(): Promise<void> {
    const pids = [...this.sessions.map(({ pid }) => pid), ...this.#servers];
    try {
      await Promise.all(this.sessions.map(({ client }) => (client as { close(): Promise<void> }).close()));
      await until("nothing is left", () => !pids.some(isAlive), PATIENCE_MS);
    } finally {
      killAll(pids);
      this.sessions.splice(0);
      this.#servers.clear();
    }
  }

  async #close(): Promise<void> {
    try {
      await this.end();
    } finally {
      this.home.remove();
      rmSync(this.issuer, { recursive: true, force: true });
    }
  }
}

function endOf(child: ChildProcess): Promise<Ended> {
  const startedAt = performance.now();
  let out = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk) => {
      out += chunk;
    });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, out, ms: performance.now() - startedAt }));
  });
  return heard(ended);
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

export function idIn({ out }: Ended): string {
  return /\d{8}-\d{6}-\w{6}/.exec(out)?.[0] ?? "";
}

export const PATH = "secret/data/mcp/app";

export async function vaultStore(more: Pick<Store, "fetchTimeout"> = {}) {
  const vault = await VaultServer.start();
  closings.push(() => vault.stop());
  const gateway = await Gateway.to(vault.url);
  closings.push(() => gateway.shut());
  await vault.must("POST", PATH, { data: DOCUMENT });
  const drill = new Drill({
    providers: `vault: { type: vault, address: "${gateway.url}" }`,
    ref: "vault:secret/mcp/app",
    ...more,
    env: {
      VAULT_TOKEN: await vault.tokenWith(
        'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }',
      ),
    },
  });
  const now = async () => (await vault.must("GET", PATH)).data.data as typeof DOCUMENT;
  /** Nobody listens any more from the request on for which this holds. */
  const goAwayAt = (isMoment: (method: string, path: string) => boolean) => {
    gateway.onRequest = (method, path) => {
      if (!isMoment(method, path)) return;
      gateway.onRequest = () => undefined;
      void gateway.shut();
    };
  };
  return { vault, gateway, drill, now, goAwayAt };
}

export async function motoStore() {
  const moto = await MotoServer.start({ mended: true });
  closings.push(() => moto.stop());
  await moto.must("CreateSecret", { Name: "mcp/app", SecretString: JSON.stringify(DOCUMENT) });
  const drill = new Drill({
    providers: `aws: { type: aws-secrets-manager, region: ${MOTO_REGION}, endpoint: "${moto.url}" }`,
    ref: "aws:mcp/app",
    env: { AWS_ACCESS_KEY_ID: "canary-id", AWS_SECRET_ACCESS_KEY: "canary-secret" },
  });
  const now = async () =>
    JSON.parse((await moto.must("GetSecretValue", { SecretId: "mcp/app" })).SecretString) as typeof DOCUMENT;
  return { moto, drill, now };
}

/** Going on with it ends as it would have ended. */
export async function endsWell(drill: Drill, now: () => Promise<typeof DOCUMENT>, id: string): Promise<void> {
  const { result, traffic, shown } = await drill.underLoad(() => drill.resume(id));
  expect(result, result.out).toMatchObject({ status: 0 });
  expect(traffic.wrong).toEqual([]);
  expect(drill.sessions.flatMap((session) => session.traffic.faults())).toEqual([]);
  expect(shown).toEqual([]);
  expect(result.out).not.toContain("canary-");
  expect(drill.asked(id).filter((action) => action === "mint")).toHaveLength(1);
  await isAllWell(drill, now);
}

/** The issuer has one key, it is the one in the store, and every server has it. */
export async function isAllWell(drill: Drill, now: () => Promise<typeof DOCUMENT>): Promise<void> {
  const { key, sibling } = await now();
  expect(drill.valid).toEqual([key]);
  expect(key).not.toBe(OLD);
  expect(sibling).toBe(SIBLING);
  for (const told of await drill.told()) expect(told.key).toBe(hash(key));
  expect(drill.placesWithValues()).toEqual([]);
  expect(drill.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
}

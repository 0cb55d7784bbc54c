/** The emergency, rehearsed: a leaked key in a real backend, twenty running servers whose clients go on asking. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { afterEach, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { Gateway } from "../helpers/gateway.ts";
import { Installation, MAIN } from "../helpers/installation.ts";
import { MOTO_REGION, MotoServer } from "../helpers/moto-server.ts";
import { isAlive, killAll, until } from "../helpers/processes.ts";
import { type Connected, connectLegacy, type Load, load } from "../helpers/sdk-clients.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const OLD = "canary-key-0-leaked";
const SIBLING = "canary-sibling";
const DOCUMENT = { key: OLD, sibling: SIBLING };
const SUPERVISORS = 20;
/** A few for each client. */
const REQUESTS_PER_SECOND = 60;
const PATIENCE_MS = 60_000;

/** Makes and ends the keys of a folder: `valid` has one a line, `calls` what was asked. KILL: dies with who asked. */
const HOOK = `
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
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
    writeFileSync(folder + "/valid", valid().filter((key) => !isMeant(key)).join("\\n") + "\\n");
    return { revoked: true };
  },
  verify: () => (keyId === undefined && value === undefined ? {} : { accepted: valid().some(isMeant) }),
};
const answer = actions[action]();
if (process.env.KILL === action) process.kill(process.ppid, "SIGKILL");
process.stdout.write(JSON.stringify(answer));
`;

/** Each tool fails unless KEY is valid at the issuer; `probe` is not answered while the folder has a file `hold`. */
const SERVER = `
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
const { KEY, SIBLING, ISSUER } = process.env;
const hash = (text) => createHash("sha256").update(text).digest("hex");
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

interface Store {
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

const hash = (text: string) => createHash("sha256").update(text).digest("hex");
const closings: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
}, PATIENCE_MS);

/** An issuer, an installation with the profiles that use it, and the sessions of their clients. */
class Drill {
  readonly home = new Installation();
  readonly issuer = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
  readonly sessions: Session[] = [];
  readonly #store: Store;
  readonly #servers = new Set<number>();

  constructor(store: Store) {
    this.#store = store;
    closings.push(() => this.#close());
    this.valid = [OLD];
    this.profile("p", this.issuer);
  }

  /** @param issuer whom its servers believe */
  profile(name: string, issuer: string, grant = ", grantOldValue: true"): void {
    const hook = join(this.issuer, "hook.mjs");
    const server = join(this.issuer, "server.mjs");
    writeFileSync(hook, HOOK);
    writeFileSync(server, SERVER);
    const { providers, ref } = this.#store;
    const rotate = `{ hook: [${process.execPath}, ${hook}, ${this.issuer}]${grant} }`;
    this.home.profile(
      name,
      `version: 1
providers: { ${providers} }
command: ${process.execPath}
args: [${server}]
env: { ISSUER: ${issuer} }
probe: { tool: probe }
fetchTimeout: 3s
secrets:
  KEY: { from: "${ref}#key", rotate: ${rotate} }
  SIBLING: "${ref}#sibling"
`,
    );
  }

  get valid(): readonly string[] {
    return readFileSync(join(this.issuer, "valid"), "utf8").split("\n").filter(Boolean);
  }

  set valid(keys: readonly string[]) {
    writeFileSync(join(this.issuer, "valid"), `${keys.join("\n")}\n`);
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
      const transport = new StdioClientTransport({
        command: process.execPath,
        args: [MAIN, profile],
        env: this.env,
        stderr: "pipe",
      });
      let log = "";
      transport.stderr?.on("data", (chunk) => {
        log += chunk;
      });
      const connected = await connectLegacy(transport).catch((error: unknown) => {
        throw new Error(`the session did not begin: ${log}`, { cause: error });
      });
      this.sessions.push({ ...connected, pid: transport.pid ?? 0, log: () => log });
    });
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
    const child = spawn(process.execPath, [MAIN, "rotate", ...args, "--yes"], {
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

  resume(id: string): Promise<Ended> {
    return this.start(["p", "--resume", id]).ended;
  }

  /** All clients go on asking while something happens; also where a key is on a command line meanwhile. */
  async underLoad<T>(
    work: () => Promise<T>,
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
      const traffic = await load(ask, working, REQUESTS_PER_SECOND);
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

  async #close(): Promise<void> {
    const pids = [...this.sessions.map(({ pid }) => pid), ...this.#servers];
    try {
      await Promise.all(this.sessions.map(({ client }) => (client as { close(): Promise<void> }).close()));
      await until("nothing is left", () => !pids.some(isAlive), PATIENCE_MS);
    } finally {
      killAll(pids);
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
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, out, ms: performance.now() - startedAt }));
  });
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

function idIn({ out }: Ended): string {
  return /\d{8}-\d{6}-\w{6}/.exec(out)?.[0] ?? "";
}

const PATH = "secret/data/mcp/app";

async function vaultStore() {
  const vault = await VaultServer.start();
  closings.push(() => vault.stop());
  const gateway = await Gateway.to(vault.url);
  closings.push(() => gateway.shut());
  await vault.must("POST", PATH, { data: DOCUMENT });
  const drill = new Drill({
    providers: `vault: { type: vault, address: "${gateway.url}" }`,
    ref: "vault:secret/mcp/app",
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

async function motoStore() {
  const moto = await MotoServer.start({ mended: true });
  closings.push(() => moto.stop());
  await moto.must("CreateSecret", { Name: "mcp/app", SecretString: JSON.stringify(DOCUMENT) });
  const drill = new Drill({
    providers: `aws: { type: aws-secrets-manager, region: ${MOTO_REGION}, endpoint: "${moto.url}" }`,
    ref: "aws:mcp/app",
    env: { AWS_ACCESS_KEY_ID: "canary-id", AWS_SECRET_ACCESS_KEY: "canary-secret" },
  });
  return { moto, drill };
}

/** The whole of it: everybody has the new key, nobody has noticed, and it is written down without a value. */
async function rehearse(drill: Drill, what: string): Promise<{ readonly key: string; readonly id: string }> {
  await drill.serve("p", SUPERVISORS);
  for (const { key } of await drill.told()) expect(key).toBe(hash(OLD));
  const report = join(drill.home.home, "incident.md");

  const { result, traffic, shown } = await drill.underLoad(() => drill.rotate(["--report", report]));
  process.stdout.write(
    `${what}: ${SUPERVISORS} supervisors, ${(result.ms / 1000).toFixed(1)} s, ${traffic.count} requests, slowest ${traffic.slowest.toFixed(0)} ms\n`,
  );

  expect(result, result.out).toMatchObject({ status: 0 });
  expect(traffic.wrong).toEqual([]);
  expect(traffic.count).toBeGreaterThan(SUPERVISORS);
  expect(drill.sessions.flatMap((session) => session.traffic.faults())).toEqual([]);
  const [key = "", ...others] = drill.valid;
  expect(others).toEqual([]);
  expect(key).not.toBe(OLD);
  for (const told of await drill.told())
    expect(told).toMatchObject({ key: hash(key), sibling: hash(SIBLING) });
  expect(drill.asked()).toEqual(["find", "mint", "revoke", "verify"]);
  expect(result.out).toContain(`${SUPERVISORS} acknowledged`);

  expect(drill.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
  const text = readFileSync(report, "utf8");
  expect(text).toContain("leaked in build log");
  expect(text.match(/has the new value/g)?.length).toBeGreaterThanOrEqual(SUPERVISORS);
  expect(result.out).not.toContain("canary-");
  expect(drill.placesWithValues()).toEqual([]);
  expect(shown).toEqual([]);
  return { key, id: idIn(result) };
}

describeBackend("a leaked key in Vault", ["vault"], () => {
  it("is replaced under twenty servers whose clients notice nothing, and is dead", async () => {
    const { vault, drill, now } = await vaultStore();

    const { key } = await rehearse(drill, "Vault");

    expect(await now()).toEqual({ key, sibling: SIBLING });
    const { json, status } = await vault.api("GET", `${PATH}?version=1`);
    expect(status).toBe(404);
    expect(json.data.metadata.destroyed).toBe(true);
    expect((await vault.api("GET", "secret/data/mcp/app-mcp-run-pending")).status).toBe(404);
  }, 120_000);
});

describeBackend("a leaked key in AWS Secrets Manager", ["moto"], () => {
  it("is replaced under twenty servers whose clients notice nothing, and bears no label", async () => {
    const { moto, drill } = await motoStore();
    const { VersionId: old } = await moto.must("GetSecretValue", { SecretId: "mcp/app" });

    const { key } = await rehearse(drill, "AWS");

    const now = await moto.must("GetSecretValue", { SecretId: "mcp/app" });
    expect(JSON.parse(now.SecretString)).toEqual({ key, sibling: SIBLING });
    const { VersionIdsToStages: stages } = await moto.must("DescribeSecret", { SecretId: "mcp/app" });
    expect(stages[now.VersionId]).toContain("AWSCURRENT");
    expect(stages[old] ?? []).toEqual([]);
    expect(Object.values(stages).flat()).not.toContain("AWSPENDING");
  }, 120_000);
});

describeBackend("a rotation that goes wrong", ["vault"], () => {
  it("takes it back when the backend goes away before the promotion, as soon as it is there again", async () => {
    const { vault, gateway, drill, now, goAwayAt } = await vaultStore();
    await drill.serve("p", 3);
    let isThere = false;
    goAwayAt((method, path) => {
      const isBeside = path.endsWith("-mcp-run-pending");
      if (isThere && isBeside && method === "GET") return true;
      isThere ||= isBeside && method !== "GET";
      return false;
    });

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate());

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    expect(await now()).toEqual(DOCUMENT);
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    const again = await drill.resume(idIn(broken));
    expect(again, again.out).toMatchObject({ status: 69 });
    expect(again.out).toContain("discarded");
    expect(drill.valid).toEqual([OLD]);
    expect((await vault.api("GET", `${PATH}-mcp-run-pending`)).status).toBe(404);

    const { status, out } = await drill.rotate();
    expect(status, out).toBe(0);
    await isAllWell(drill, now);
  });

  it("goes on when the backend has promoted and went away before it said so", async () => {
    const { gateway, drill, now, goAwayAt } = await vaultStore();
    await drill.serve("p", 3);
    goAwayAt((method, path) => method !== "GET" && path.endsWith(PATH));

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate());

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    await until("the write has come through", () =>
      gateway.passed.some(({ method, path }) => method !== "GET" && path.endsWith(PATH)),
    );
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    await endsWell(drill, now, idIn(broken));
  });

  it("goes on when the backend that went away after the promotion is back", async () => {
    const { gateway, drill, now, goAwayAt } = await vaultStore();
    await drill.serve("p", 3);
    let isPromoted = false;
    goAwayAt((method, path) => {
      if (isPromoted && method === "GET") return true;
      isPromoted ||= method === "DELETE" && path.endsWith("-mcp-run-pending");
      return false;
    });

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate(["--ack-timeout", "2s"]));

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    await endsWell(drill, now, idIn(broken));
  });

  it.each(["find", "mint", "revoke", "verify"])(
    "goes on when it was killed while its hook was asked to %s, and has made one key",
    async (action) => {
      const { drill, now } = await vaultStore();
      await drill.serve("p", 2);

      const { result: killed, traffic } = await drill.underLoad(() => drill.rotate([], { KILL: action }));

      expect(killed.status).toBeNull();
      expect(traffic.wrong).toEqual([]);
      await endsWell(drill, now, idIn(killed));
    },
  );

  it.each(["lock", "mint", "candidate", "canary", "promote", "spread", "revoke", "verify"])(
    "goes on when it was killed after its step %s, and has made one key",
    async (step) => {
      const { drill, now } = await vaultStore();
      await drill.serve("p", 2);

      const { result: killed, traffic } = await drill.underLoad(async () => {
        const { child, ended } = drill.start(["p", "--reason", "drill"]);
        let told = "";
        child.stdout?.on("data", (chunk) => {
          told += chunk;
          if (told.includes(`✔ ${step}`)) child.kill("SIGKILL");
        });
        return await ended;
      });

      expect(killed.status).toBeNull();
      expect(traffic.wrong).toEqual([]);
      await endsWell(drill, now, idIn(killed));
    },
  );

  it("tells a second operator who is at it, and makes no key for the second", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 2);
    writeFileSync(join(drill.issuer, "hold"), "");
    const first = drill.start(["p", "--reason", "first"]);
    let told = "";
    first.child.stdout?.on("data", (chunk) => {
      told += chunk;
    });
    await until("the candidate is there", () => told.includes("✔ candidate"), PATIENCE_MS);

    const second = await drill.rotate();
    rmSync(join(drill.issuer, "hold"));
    const ended = await first.ended;

    expect(second.out).toContain(idIn(ended));
    expect(second.out).toMatch(/\w+@\S+/);
    expect(second.out).toContain("it is being rotated by");
    expect(second.status, second.out).not.toBe(0);
    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(drill.asked()).toEqual(["find", "mint", "revoke", "verify"]);
    await isAllWell(drill, now);
  });

  it("lets one of two operators win who begin together", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 2);

    const { result: both, traffic } = await drill.underLoad(() =>
      Promise.all([drill.rotate(["--secret", "KEY"]), drill.rotate()]),
    );

    const report = both.map(({ status, out }) => `${status}\n${out}`).join("\n");
    const [winner, loser] = both.toSorted((a, b) => (a.status ?? 0) - (b.status ?? 0));
    expect(winner?.status, report).toBe(0);
    expect([64, 69], report).toContain(loser?.status);
    expect(traffic.wrong).toEqual([]);
    await isAllWell(drill, now);
  });

  it("leaves the old key alone as long as three of twenty servers can't take the new one", async () => {
    const { drill, now } = await vaultStore();
    const others = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
    closings.push(() => rmSync(others, { recursive: true, force: true }));
    writeFileSync(join(others, "valid"), `${OLD}\n`);
    drill.profile("q", others);
    await drill.serve("p", SUPERVISORS - 3);
    await drill.serve("q", 3);

    const { result: stuck, traffic } = await drill.underLoad(() => drill.rotate(["--ack-timeout", "20s"]));

    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(stuck.out).toContain("17 acknowledged, 3 failed");
    expect(stuck.out).toContain("OLD KEY STILL VALID");
    expect(traffic.wrong).toEqual([]);
    expect(drill.valid).toContain(OLD);

    writeFileSync(join(others, "valid"), `${drill.valid.join("\n")}\n`);
    const again = await drill.underLoad(() => drill.resume(idIn(stuck)));
    expect(again.result, again.result.out).toMatchObject({ status: 0 });
    expect(again.traffic.wrong).toEqual([]);
    await isAllWell(drill, now);
  }, 120_000);

  it("ends the key of an earlier rotation by its name, where the hook may not see its value", async () => {
    const { drill, now } = await vaultStore();
    const first = await drill.rotate();
    expect(first.status, first.out).toBe(0);
    drill.profile("p", drill.issuer, "");

    const second = await drill.rotate();

    expect(second, second.out).toMatchObject({ status: 0 });
    await isAllWell(drill, now);
  });
});

/** Going on with it ends as it would have ended. */
async function endsWell(drill: Drill, now: () => Promise<typeof DOCUMENT>, id: string): Promise<void> {
  const { result, traffic } = await drill.underLoad(() => drill.resume(id));
  expect(result, result.out).toMatchObject({ status: 0 });
  expect(traffic.wrong).toEqual([]);
  expect(result.out).not.toContain("canary-");
  expect(drill.asked(id).filter((action) => action === "mint")).toHaveLength(1);
  await isAllWell(drill, now);
}

/** The issuer has one key, it is the one in the store, and every server has it. */
async function isAllWell(drill: Drill, now: () => Promise<typeof DOCUMENT>): Promise<void> {
  const { key, sibling } = await now();
  expect(drill.valid).toEqual([key]);
  expect(key).not.toBe(OLD);
  expect(sibling).toBe(SIBLING);
  for (const told of await drill.told()) expect(told.key).toBe(hash(key));
  expect(drill.placesWithValues()).toEqual([]);
  expect(drill.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
}

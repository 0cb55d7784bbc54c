/** Leases of several hosts, replaced over a real bus: the real Vault, a real database, the built program. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Report, readReport } from "../../src/control/bus/messages.ts";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { Host, PATIENCE_MS } from "../helpers/fleet-room.ts";
import { Gateway } from "../helpers/gateway.ts";
import { NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { PostgresServer } from "../helpers/postgres-server.ts";
import { until } from "../helpers/server-process.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const PATH = "database/creds/lent";
const SECRETS = `
      KEY: { from: "vault:${PATH}#password", rotate: { backend: true } }
      USER_NAME: { from: "vault:${PATH}#username", scrub: false }`;

/** Logs in at the database at each call, with what it was given; begins when there is no file \`hold\` beside it. */
function serverOf(login: readonly string[]): string {
  return `
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
const { KEY, USER_NAME } = process.env;
while (existsSync(new URL("hold", import.meta.url))) await setTimeout(20);
const key = createHash("sha256").update(KEY).digest("hex");
const login = ${JSON.stringify(login)}.map((word) => word === "USER" ? USER_NAME : word);
const call = () => new Promise((resolve) => {
  execFile(login[0], login.slice(1), { env: { HOME: "/", PGPASSWORD: KEY } }, (error) => {
    const text = error ? "refused" : JSON.stringify({ key, variables: [] });
    resolve({ isError: error !== null, content: [{ type: "text", text }] });
  });
});
const methods = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "db", version: "1" } }),
  "tools/list": () => ({ tools: [{ name: "use", inputSchema: { type: "object" } }] }),
  "tools/call": call,
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method } = JSON.parse(line);
  if (id === undefined || !methods[method]) return;
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result: await methods[method]() }) + "\\n");
});
`;
}

const closings: (() => Promise<unknown> | unknown)[] = [];
afterEach(() => closeAll(closings));

let database: PostgresServer;
let vault: VaultServer;
let gateway: Gateway;
let nats: NatsServer;
let ops: Host;

function host(name: string, more = ""): Host {
  const made = new Host(name, {
    vault: gateway,
    fleet: `servers: ["${nats.url}"]`,
    credentials: OPERATOR,
    more,
    secrets: SECRETS,
    server: serverOf(database.loginOf("USER")),
  });
  closings.push(() => made.close());
  return made;
}

async function serving(...hosts: readonly Host[]): Promise<void> {
  await Promise.all(hosts.map((each) => each.serve()));
  for (const each of hosts) await each.untilOnTheBus("connected");
}

/** Ids of the leases that Vault has. */
async function alive(): Promise<readonly string[]> {
  const { json } = await vault.api("LIST", `sys/leases/lookup/${PATH}`);
  return (json?.data?.keys ?? []).map((id: string) => `${PATH}/${id}`);
}

const reads = () => gateway.passed.filter(({ path }) => path === `/v1/${PATH}`).length;

/** Somebody has read one, and it is no longer a secret. */
async function leak() {
  const { data, lease_id: id } = await vault.must("GET", PATH);
  const isGood = () => database.lets(data.username, data.password);
  expect(await isGood()).toBe(true);
  return { id: id as string, isGood };
}

const rotating = (...args: readonly string[]) => ops.rotating(...args, "--yes");

const idIn = (out: string) => /\d{8}-\d{6}-\w{6}/.exec(out)?.[0] ?? "";

/** All that is said on the bus from now on, and the last report of each host. */
async function listening() {
  const connection = await connect({
    servers: nats.url.replace("nats://", ""),
    user: "op",
    pass: "canary-operator",
  });
  closings.push(() => connection.close());
  const heard = { text: "", reports: new Map<string, Report>() };
  connection.subscribe(">", {
    callback: (_error, { subject, data }) => {
      heard.text += `${subject} ${Buffer.from(data)}\n`;
      const report = subject.startsWith("mcp-run.host.") && readReport(data);
      if (report) heard.reports.set(report.host, report);
    },
  });
  await connection.flush();
  return heard;
}

/** Calls all servers in turn until the work is over; every answer has to be a good one. */
async function underLoad<T>(work: Promise<T>, ...hosts: readonly Host[]): Promise<T> {
  let isOver = false;
  const ending = work.finally(() => {
    isOver = true;
  });
  const calls = hosts.map(async (each) => {
    while (!isOver) await each.told();
  });
  await Promise.all(calls);
  return ending;
}

describeBackend("leases of several hosts", ["vault", "initdb", "postgres", "nats-server"], () => {
  beforeEach(async () => {
    database = await PostgresServer.start();
    closings.push(() => database.stop());
    vault = await VaultServer.start();
    closings.push(() => vault.stop());
    gateway = await Gateway.to(vault.url);
    closings.push(() => gateway.shut());
    nats = await NatsServer.start();
    closings.push(() => nats.stop());
    await vault.must("POST", "sys/mounts/database", { type: "database" });
    await vault.must("POST", "database/config/pg", database.vaultConfig);
    await vault.must("POST", "database/roles/lent", {
      db_name: "pg",
      creation_statements: [
        `create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'`,
      ],
      default_ttl: "1h",
    });
    ops = host("ops");
    expect(ops.run("fleet", "setup")).toMatchObject({ status: 0 });
  });

  it("are replaced by who has no server himself, and the clients notice nothing", async () => {
    const hosts = [host("web-1"), host("web-2"), host("web-3")] as const;
    await serving(...hosts);
    const leaked = await leak();
    const before = await alive();
    expect(before).toHaveLength(4);
    const had = await Promise.all(hosts.map((each) => each.told()));
    const bus = await listening();

    const rotation = rotating("--reason", "leaked in build log");
    const status = await underLoad(rotation.ended, ...hosts);

    expect(status, rotation.out).toBe(0);
    expect(rotation.out).toContain("3 acknowledged");
    expect(await leaked.isGood()).toBe(false);
    const after = await alive();
    expect(after.filter((id) => before.includes(id))).toEqual([]);
    expect(after).toHaveLength(3);
    for (const [index, each] of hosts.entries()) expect((await each.told()).key).not.toBe(had[index]?.key);
    for (const id of [...before, ...after]) expect(bus.text).not.toContain(id.slice(PATH.length + 1));

    const taken = reads();
    const late = host("web-4");
    await serving(late);
    const knows = () => bus.reports.get("web-4")?.secrets.some(({ state }) => state === "has") ?? false;
    await until("it knows that its lease is a new one", async () => knows(), PATIENCE_MS);
    expect(reads()).toBe(taken + 1);
    expect(await alive()).toHaveLength(4);
  });

  it("stay as they are where a host falls silent, which is named, and go when it is back", async () => {
    const [one, two] = [host("web-1"), host("web-2")];
    await serving(one, two);
    const leaked = await leak();
    const had = await one.told();
    ops.home.write("hold", "");

    const stuck = rotating("--reason", "drill", "--ack-timeout", "5s");
    await until("the plan is made", async () => stuck.out.includes("run with it"), PATIENCE_MS);
    process.kill(two.pid, "SIGSTOP");
    rmSync(join(ops.home.home, "hold"));
    expect(await stuck.ended, stuck.out).toBe(75);

    expect(stuck.out).toMatch(/p on web-2 \(pid \d+\): pending, it was heard before, and says nothing now/);
    expect(stuck.out).toContain("OLD KEY STILL VALID");
    expect(await leaked.isGood()).toBe(true);
    const hasAnother = async () => (await one.told()).key !== had.key;
    await until("the other one has a new lease", hasAnother, PATIENCE_MS);
    const { key } = await one.told();
    const taken = reads();

    process.kill(two.pid, "SIGCONT");
    const resumed = rotating("--resume", idIn(stuck.out));
    expect(await underLoad(resumed.ended, one, two), resumed.out).toBe(0);

    expect(await leaked.isGood()).toBe(false);
    expect(await alive()).toHaveLength(2);
    // Whoever had another one by then has kept it.
    expect((await one.told()).key).toBe(key);
    expect(reads()).toBe(taken + 1);
  });

  it("go although a host is asleep, which is named, and takes another as soon as it is back", async () => {
    const [one, sleeper] = [host("web-1"), host("web-2")];
    await serving(one, sleeper);
    const { key } = await sleeper.told();
    const before = await alive();
    process.kill(sleeper.pid, "SIGSTOP");

    const rotation = rotating("--reason", "drill");
    expect(await rotation.ended, rotation.out).toBe(0);

    expect(rotation.out).toMatch(/nothing is known of p on web-2 \(last heard 20/);
    expect((await alive()).filter((id) => before.includes(id))).toEqual([]);
    process.kill(sleeper.pid, "SIGCONT");
    // As long as it has the old one, the database does not let it in.
    const told = async () => (await sleeper.told().catch(() => ({ key }))).key;
    await until("it has another lease", async () => (await told()) !== key, PATIENCE_MS);
    expect(await alive()).toHaveLength(2);
  });

  it("are dead before anybody has another under active abuse, and then everybody gets one", async () => {
    const [one, two] = [host("web-1"), host("web-2")];
    await serving(one, two);
    const leaked = await leak();
    const before = await alive();
    const had = await Promise.all([one.told(), two.told()]);

    const rotation = rotating("--reason", "drill", "--revoke-first");
    expect(await rotation.ended, rotation.out).toBe(0);

    expect(rotation.out).toMatch(/✔ revoke[\s\S]*✔ spread/);
    expect(await leaked.isGood()).toBe(false);
    expect((await alive()).filter((id) => before.includes(id))).toEqual([]);
    const has = await Promise.all([one.told(), two.told()]);
    expect(has.map(({ key }) => key).filter((key) => had.some((before) => before.key === key))).toEqual([]);
  });

  it("stay alive for a host that can't take another, which is named, and for nobody else", async () => {
    const [one, never] = [host("web-1"), host("web-2", "    refresh: { restart: never }\n")];
    await serving(one, never);
    const had = await one.told();
    const { key } = await never.told();
    const before = await alive();
    const leaked = await leak();

    const held = rotating("--reason", "drill");
    expect(await held.ended, held.out).toBe(75);
    expect(held.out).toMatch(/p on web-2 \(pid \d+\): cannot-swap, its profile has `restart: never`/);
    expect(await leaked.isGood()).toBe(true);
    const kept = rotating("--resume", idIn(held.out), "--missing-ok", "web-2");

    expect(await kept.ended, kept.out).toBe(75);
    const [, lease = ""] = /lease (\S+) kept for p on web-2 \(pid \d+\)/.exec(kept.out) ?? [];
    expect(before).toContain(lease);
    expect(await leaked.isGood()).toBe(false);
    expect((await alive()).filter((id) => before.includes(id))).toEqual([lease]);
    expect((await never.told()).key).toBe(key);
    expect((await one.told()).key).not.toBe(had.key);

    await never.end();
    const ended = rotating("--resume", idIn(held.out));
    expect(await ended.ended, ended.out).toBe(0);
    expect(await alive()).toHaveLength(1);
    await one.told();
  });
});

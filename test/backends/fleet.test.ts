/** Several hosts with one secret, and an operator who replaces it, over a real bus and a real Vault. */
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as requestTo, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { closeAll } from "../helpers/closings.ts";
import { HOOK, SERVER } from "../helpers/drill.ts";
import { Host, type HostOptions, hash, OLD, PATH, PATIENCE_MS, REF } from "../helpers/fleet-room.ts";
import { NatsCluster } from "../helpers/nats-cluster.ts";
import { accountOf, NatsServer, OPERATOR } from "../helpers/nats-server.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { load } from "../helpers/sdk-clients.ts";
import { until } from "../helpers/server-process.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const closings: (() => Promise<unknown> | unknown)[] = [];
afterEach(() => closeAll(closings));

const CALLED: Record<string, Pick<HostOptions, "profile" | "provider">> = {
  "web-1": { profile: "p", provider: "vault" },
  "web.2": { profile: "q", provider: "prod-vault" },
  "web-3": { profile: "p", provider: "vault" },
};

let vault: VaultServer;
let nats: NatsServer;
let tls: PrivateCa;
let caFile: string;
/** As `fleet permissions` prints them. */
let users: readonly string[];

const passwordOf = (name: string) => `canary-password-of-${name}`;

function host(
  name: string,
  password = passwordOf(name),
  servers: readonly string[] = [nats.url],
  url = vault.url,
  more: Partial<HostOptions> = {},
): Host {
  const user = name === "ops" ? "mcp-run-operator" : `mcp-run-${name.replace(".", "=2E")}`;
  const fleet = `servers: ${JSON.stringify(servers)}, ca: ${caFile}, inventory: [web-1, web.2, web-3, db-9]`;
  const made = new Host(name, {
    vault: { url },
    fleet,
    credentials: `${user}:${password}`,
    ...CALLED[name],
    ...more,
  });
  closings.push(() => made.close());
  return made;
}

/** The operator, and hosts whose servers run and are heard. */
async function fleetOf(...names: readonly string[]): Promise<readonly [Host, ...Host[]]> {
  const ops = host("ops");
  const hosts = names.map((name) => host(name));
  await Promise.all(hosts.map((each) => each.serve()));
  for (const each of hosts) await each.untilOnTheBus("connected");
  return [ops, ...hosts];
}

/** A host whose servers believe an issuer that ends keys for good: the file `valid` of that folder. */
function hostWithIssuer(name: string, folder: string): Host {
  const from = `${CALLED[name]?.provider ?? "vault"}:${REF}`;
  return host(name, passwordOf(name), [nats.url], vault.url, {
    server: SERVER,
    secrets: `      KEY: { from: "${from}", rotate: { hook: [${process.execPath}, ${folder}/hook.mjs, ${folder}], grantOldValue: true } }`,
    more: `    env: { ISSUER: ${folder}, SIBLING: none }`,
  });
}

function issuerFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
  closings.push(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "hook.mjs"), HOOK);
  writeFileSync(join(folder, "valid"), `${OLD}\n`);
  return folder;
}

/** A user of the configuration as `fleet permissions` prints it, with a password of ours. */
function userOf(name: string, ...args: readonly string[]): string {
  const somewhere = ["tls://127.0.0.1:1"];
  const { stdout, stderr, status } = host(name, undefined, somewhere).run("fleet", "permissions", ...args);
  expect(status, stderr).toBe(0);
  expect(stdout).not.toContain("canary");
  return stdout.replace(/password: "…".*/, `password: "${passwordOf(name)}"`);
}

/** Somebody with a user's rights who keeps to no form, and what the server has refused to him. */
async function rawAs(user: string, password: string, url = nats.url) {
  const connection = await connect({
    servers: url.replace("tls://", ""),
    user,
    pass: password,
    tls: { ca: tls.ca },
    inboxPrefix: "_INBOX.raw",
  });
  closings.push(() => connection.close());
  const refused: string[] = [];
  void (async () => {
    for await (const status of connection.status())
      if (status.type === "error") refused.push(status.error.message);
  })();
  return { connection, refused };
}

async function untilItHas(one: Host, key: string): Promise<void> {
  await until(`${one.name} has it`, async () => (await one.told()).key === key, PATIENCE_MS);
}

async function currentKey(): Promise<string> {
  return hash((await vault.must("GET", PATH)).data.data.key);
}

describeBackend("a key of several hosts", ["vault", "nats-server"], () => {
  beforeAll(async () => {
    vault = await VaultServer.start();
    await vault.must("POST", PATH, { data: { key: OLD } });
    tls = await privateCa();
    caFile = await vault.keep("nats-ca.pem", tls.ca);
    users = [
      ...Object.entries(CALLED).map(([name, { profile = "p" }]) => userOf(name, profile, "--host", name)),
      userOf("ops", "--operator"),
      "{ user: watcher, password: canary-watcher }",
    ];
    await closeAll(closings);
  });

  // A bus for each test, which may break it; none is to fail because another one has, or is tried again.
  beforeEach(async () => {
    await vault.must("POST", PATH, { data: { key: OLD } });
    const accounts = `accounts { FLEET { jetstream: enabled, users: [\n${users.join("\n")}\n] } }`;
    nats = await NatsServer.start({ tls, accounts });
    closings.push(() => nats.stop());
    const { status, stdout, stderr } = host("ops").run("fleet", "setup");
    expect(stdout, stderr).toBe("bucket mcp-run: made\nstream mcp-run-hosts: made\n");
    expect(status).toBe(0);
  });

  afterAll(() => vault?.stop());

  it("is not replaced before the bus is set up, and that is done once", async () => {
    const fresh = await NatsServer.start({ tls });
    closings.push(() => fresh.stop());
    const ops = host("ops", undefined, [fresh.url], undefined, { credentials: OPERATOR });

    const early = ops.run("rotate", "p", "--reason", "drill", "--yes");
    const seen = ops.run("status");
    const [made, again] = [ops.run("fleet", "setup"), ops.run("fleet", "setup")];

    expect(early.stderr).toMatch(/its bucket and stream are not there\. Try mcp-run fleet setup;/);
    expect(early.status).toBe(69);
    expect(seen.stdout).toContain("its bucket and stream are not there");
    expect(made, made.stderr).toMatchObject({
      status: 0,
      stdout: "bucket mcp-run: made\nstream mcp-run-hosts: made\n",
    });
    expect(again.stdout).toBe("bucket mcp-run: unchanged\nstream mcp-run-hosts: unchanged\n");
  });

  it("is new to all that are there; those who are not are named, and catch up", async () => {
    const [ops, one, two, three] = (await fleetOf("web-1", "web.2", "web-3")) as [Host, Host, Host, Host];
    const { connection } = await rawAs("watcher", "canary-watcher");
    const traffic = everythingOn(connection);
    process.kill(three.pid, "SIGSTOP");

    const rotated = ops.rotating("--reason", "leaked in build log", "--yes", "--report", "report.md");

    expect(await rotated.ended, rotated.out).toBe(0);
    expect(rotated.out).toMatch(/2 acknowledged, 2 unknown/);
    expect(rotated.out).toMatch(/Nothing is heard of 2 hosts: web-3, db-9/);
    expect(rotated.out).toMatch(/nothing is known of p on web-3 \(last heard 20/);
    expect(rotated.out).toContain("nothing is known of db-9 (never heard)");
    expect(ops.home.read("report.md").toString()).toMatch(/web-3[^\n]*unknown|unknown[^\n]*web-3/);
    const key = await currentKey();
    expect(key).not.toBe(hash(OLD));
    for (const each of [one, two]) expect((await each.told()).key).toBe(key);
    expect(ops.run("status").stdout).toMatch(/unknown: p on web-3 \(pid \d+\), last heard \d+s ago/);

    process.kill(three.pid, "SIGCONT");
    await until("it has caught up", async () => (await three.told()).key === key, PATIENCE_MS);
    await until("that is seen", async () => /^web-3 +1 +p +1$/m.test(ops.run("status").stdout), PATIENCE_MS);

    expect((await one.told()).variables.filter((name) => /NATS|FLEET/.test(name))).toEqual([]);
    expect(traffic.subjects.size).toBeGreaterThan(3);
    expect(traffic.text).not.toContain("canary-");
    expect(filesWith(nats.store, "canary-")).toEqual([]);
    for (const { log } of [one, two, three]) expect(log).not.toContain("canary-");
  });

  it("is nothing that a host can learn of others, or speak for others of", async () => {
    const [ops, one] = (await fleetOf("web-1")) as [Host, Host];
    const { connection, refused } = await rawAs("mcp-run-web-1", passwordOf("web-1"));
    const forged = {
      ...{ v: 1, host: "web.2", pid: 1, instance: "1-forged", profile: "q", state: "serving" },
      ...{ generation: 9, era: "legacy", mode: "overlap", secrets: [] },
    };

    connection.publish("mcp-run.host.web=2E2.1-forged", JSON.stringify(forged));
    connection.publish("mcp-run.host.web-1.1-forged", JSON.stringify(forged));
    connection.publish("$KV.mcp-run.k00000000000000000000000000", "{}");
    connection.publish("mcp-run.call.k00000000000000000000000000", "{}");
    connection.subscribe("mcp-run.host.>");
    connection.subscribe("mcp-run.entry.*");
    await connection.flush();
    await until("all is refused", async () => refused.length >= 5);

    let supervisors: readonly { readonly host: string; readonly pid: number }[] = [];
    const isHeard = async () => {
      supervisors = JSON.parse(ops.run("status", "--json").stdout).fleet.supervisors ?? [];
      return supervisors.length > 0;
    };
    await until("it is heard", isHeard, PATIENCE_MS);
    expect(supervisors.map((each) => [each.host, each.pid])).toEqual([["web-1", one.pid]]);
  });

  it("is ended before the new one serves without a request that meets it, on another machine too", async () => {
    const folder = issuerFolder();
    const ops = hostWithIssuer("ops", folder);
    const hosts = ["web-1", "web.2"].map((name) => hostWithIssuer(name, folder));
    await Promise.all(hosts.map((each) => each.serve()));
    for (const each of hosts) await each.untilOnTheBus("connected");

    const running = ops.rotating("--reason", "abused", "--revoke-first", "--yes", "--ack-timeout", "120s");
    const ask = (each: Host) => async () => void (await each.told());
    const loads = await Promise.all(hosts.map((each) => load(ask(each), running.ended, 20)));

    expect(await running.ended, running.out).toBe(0);
    expect(running.out).toContain("✔ hold: 2 of 2 servers hold their requests");
    expect(running.out.indexOf("✔ hold")).toBeLessThan(running.out.indexOf("✔ revoke"));
    expect(running.out.indexOf("✔ revoke")).toBeLessThan(running.out.indexOf("✔ promote"));
    const { key } = (await vault.must("GET", PATH)).data.data;
    expect(readFileSync(join(folder, "valid"), "utf8")).toBe(`${key}\n`);
    for (const [index, each] of hosts.entries()) {
      await each.untilItSays(/requests wait no longer/);
      // On a machine so slow that the time was over the others meet the dead key, as is said.
      if (!/ s are over/.test(each.log)) expect(loads[index]?.wrong).toEqual([]);
      expect(loads[index]?.count).toBeGreaterThan(0);
      expect((await each.told()).key).toBe(hash(key));
      expect(each.log).not.toContain("canary-");
    }
  }, 300_000);

  it("has nobody hold anything for who only says that there is a rotation", async () => {
    const [, one] = (await fleetOf("web-1")) as [Host, Host];
    const { connection } = await rawAs("mcp-run-operator", passwordOf("ops"));
    const said: string[] = [];
    connection.subscribe("mcp-run.host.web-1.*", {
      callback: (_error, message) => void said.push(message.string()),
    });
    const key = /"mcp-run\.call\.(k[^"]+)"/.exec(users[0] ?? "")?.[1];
    const hold = { rotation: "20261121-093015-forged", forMs: 45_000, upTo: 1, overMs: 0 };

    connection.publish(`mcp-run.call.${key}`, JSON.stringify({ v: 1, id: "forged", hold }));

    const answer = () => said.map((line) => JSON.parse(line).hold).find((each) => each !== undefined);
    await until("it has answered", async () => answer() !== undefined, PATIENCE_MS);
    expect(answer()).toMatchObject({ rotation: hold.rotation, holds: false });
    expect(answer().reason).toMatch(/^Cannot fetch the candidate of 20261121-093015-forged: /);
    expect(one.status().holding).toBeUndefined();
    expect((await one.told()).key).toBe(hash(OLD));
  });

  it("is replaced on one machine only if somebody says so, as long as the bus is down; servers go on", async () => {
    const [ops, one] = (await fleetOf("web-1")) as [Host, Host];
    await nats.pause();
    try {
      await one.untilOnTheBus("reconnecting");
      expect((await one.told()).key).toBe(hash(OLD));
      expect(one.run("status").stdout).toMatch(/reconnecting to its fleet since \d+s ago: /);
      const seen = ops.run("status");
      expect(seen).toMatchObject({ status: 0 });
      expect(seen.stdout).toMatch(/^The fleet can't be seen: .*ECONNREFUSED/m);

      const refused = ops.run("rotate", "p", "--reason", "drill", "--yes");
      expect(refused.status).toBe(69);
      expect(refused.stderr).toMatch(/^mcp-run: Cannot rotate on all machines: .* Try .*--missing-ok '\*'/m);
      expect(await currentKey()).toBe(hash(OLD));

      const dry = ops.run("rotate", "p", "--reason", "drill", "--dry-run");
      expect(dry).toMatchObject({ status: 0 });
      expect(dry.stdout).toContain("Other machines are not told: ");

      const alone = ops.rotating("--reason", "drill", "--yes", "--missing-ok", "*", "--revoke-first");
      expect(await alone.ended, alone.out).toBe(0);
      expect(alone.out).toContain("nothing is known of web-1 (Cannot reach the fleet's bus");
      expect(alone.out).toMatch(/other machines: nobody is asked to hold requests, .* reach the fleet's bus/);
    } finally {
      await nats.resume();
    }
    await one.untilOnTheBus("connected");
    await one.untilItSays(/p is heard in its fleet again/);
  });

  it("is gone on with when the bus has died in the middle", async () => {
    const [ops, one] = (await fleetOf("web-1")) as [Host, Host];
    process.kill(one.pid, "SIGSTOP");
    const running = ops.rotating(
      "--reason",
      "drill",
      "--yes",
      "--ack-timeout",
      "15s",
      "--missing-ok",
      "db-9",
    );
    await until("it has promoted", async () => running.out.includes("✔ promote"), PATIENCE_MS);
    await nats.pause();
    process.kill(one.pid, "SIGCONT");

    expect(await running.ended, running.out).toBe(75);
    expect(running.out).toMatch(/the fleet's bus: failed, Cannot /);
    expect(running.out).toContain("OLD KEY STILL VALID");

    await nats.resume();
    await one.untilOnTheBus("connected");
    const id = /\d{8}-\d{6}-\w{6}/.exec(running.out)?.[0] ?? "";
    const resumed = ops.rotating("--resume", id, "--yes");
    expect(await resumed.ended, resumed.out).toBe(0);
    expect((await one.told()).key).toBe(await currentKey());
  });

  it("is waited for where a backend gives one of them no answer for a while", async () => {
    const { auth } = await vault.must("POST", "auth/token/create", { policies: ["root"] });
    const gate = await VaultGate.before(vault, auth.client_token);
    closings.push(() => gate.close());
    // By its address the secret is another one, for which the users of the bus have no permission.
    const everything = ["operator", "web-1", "web-3"].map(
      (name) => `{ user: mcp-run-${name}, password: canary-password }`,
    );
    const bus = await NatsServer.start({ tls, accounts: accountOf(everything) });
    closings.push(() => bus.stop());
    const at = (name: string) => host(name, "canary-password", [bus.url], gate.url);
    const [ops, one, three] = [at("ops"), at("web-1"), at("web-3")];
    expect(ops.run("fleet", "setup").status).toBe(0);
    three.home.write("token", auth.client_token);
    for (const each of [one, three]) await each.serve();
    for (const each of [one, three]) await each.untilOnTheBus("connected");
    gate.isShut = true;

    const running = ops.rotating("--reason", "drill", "--yes", "--ack-timeout", "120s");
    // Which was the end of it once.
    await three.untilItSays(/503/);
    gate.isShut = false;

    expect(await running.ended, running.out).toBe(0);
    for (const each of [one, three]) expect((await each.told()).key).toBe(await currentKey());
  });

  it("is not ended where what the bus keeps is lost in the middle, and is gone on with once it is set up anew", async () => {
    const [ops, one] = (await fleetOf("web-1")) as [Host, Host];
    const { connection } = await rawAs("watcher", "canary-watcher");
    // Else it may have the new key before all is lost.
    process.kill(one.pid, "SIGSTOP");
    const running = ops.rotating("--reason", "drill", "--yes", "--ack-timeout", "15s");
    await until("it has promoted", async () => running.out.includes("✔ promote"), PATIENCE_MS);
    for (const stream of ["KV_mcp-run", "mcp-run-hosts"])
      await connection.request(`$JS.API.STREAM.DELETE.${stream}`);
    process.kill(one.pid, "SIGCONT");

    const status = await running.ended;
    expect(running.out).toMatch(/the fleet's bus: failed, Cannot .* its bucket and stream are not there/);
    expect(running.out).toContain("OLD KEY STILL VALID");
    expect(status).toBe(75);

    expect(ops.run("fleet", "setup").status).toBe(0);
    const id = /\d{8}-\d{6}-\w{6}/.exec(running.out)?.[0] ?? "";
    const resumed = ops.rotating("--resume", id, "--yes");
    expect(await resumed.ended, resumed.out).toBe(0);
    expect((await one.told()).key).toBe(await currentKey());
  });

  it("is not ended where somebody is there who can't be understood, unless somebody says so", async () => {
    const [ops, one] = (await fleetOf("web-1")) as [Host, Host];
    const { connection } = await rawAs("mcp-run-web=2E2", passwordOf("web.2"));
    const answer = () => connection.publish("mcp-run.host.web=2E2.7-later", JSON.stringify({ v: 2 }));
    connection.subscribe("mcp-run.call.all", { callback: answer });
    await connection.flush();

    const kept = ops.rotating("--reason", "drill", "--yes", "--ack-timeout", "15s");
    expect(await kept.ended, kept.out).toBe(75);
    const id = /\d{8}-\d{6}-\w{6}/.exec(kept.out)?.[0] ?? "";
    expect(kept.out).toContain("what it says can't be read: is it another version of mcp-run?");
    expect(kept.out).toContain("OLD KEY STILL VALID");
    await untilItHas(one, await currentKey());
    expect(ops.run("status").stdout).toMatch(/unknown: \? on web\.2 \(pid 7\).*: what it says can't be read/);

    const resumed = ops.rotating("--resume", id, "--yes", "--missing-ok", "web.2");
    expect(await resumed.ended, resumed.out).toBe(0);
  });

  it("is new to all over three servers, one of which is lost in the middle", async () => {
    const cluster = await NatsCluster.start(tls, users);
    closings.push(() => cluster.stop());
    const of = (name: string) => host(name, passwordOf(name), cluster.urls);
    const [ops, one, two] = [of("ops"), of("web-1"), of("web.2")];
    await until(
      "the servers have found each other",
      async () => ops.run("fleet", "setup", "--replicas", "3").status === 0,
      PATIENCE_MS,
    );
    for (const each of [one, two]) await each.serve();
    for (const each of [one, two]) await each.untilOnTheBus("connected");
    const { connection } = await rawAs("watcher", "canary-watcher", cluster.urls[0]);
    const { data } = await connection.request("$JS.API.STREAM.INFO.KV_mcp-run");
    const { config, cluster: known } = JSON.parse(Buffer.from(data).toString());
    expect(config.num_replicas).toBe(3);
    await connection.close();

    const running = ops.rotating("--reason", "drill", "--yes");
    await until("it has promoted", async () => running.out.includes("✔ promote"), PATIENCE_MS);
    cluster.kill(known.leader);

    expect(await running.ended, running.out).toBe(0);
    expect(running.out).toContain("2 acknowledged, 2 unknown");
    const key = await currentKey();
    for (const each of [one, two]) expect((await each.told()).key).toBe(key);
    // The rest of the cluster keeps what was put, and whoever comes later hears of it.
    const three = of("web-3");
    await three.serve();
    await three.untilOnTheBus("connected");
    await until(
      "all are seen",
      async () => /^The fleet: 3 servers on 3 hosts/m.test(ops.run("status").stdout),
      PATIENCE_MS,
    );
    // Which server is to read out the reports is chance each time, and one of the three is down.
    for (let time = 0; time < 8; time++) {
      expect(ops.run("status").stdout).toMatch(/^The fleet: \d servers? on \d hosts?/m);
      // vitest gives up a worker that says nothing for a minute.
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it("is heard of again by a host whose credentials were refused, as soon as it has others", async () => {
    const one = host("web-1", "canary-wrong");
    await one.serve();
    await one.untilOnTheBus("refused");
    await one.untilItSays(/Warning: p is not heard in its fleet: .* does not accept the credentials/);
    expect(one.log).not.toContain("canary-");

    one.home.write("nats", `mcp-run-web-1:${passwordOf("web-1")}`);

    await one.untilOnTheBus("connected");
    expect((await one.told()).key).toBe(hash(OLD));
  });
});

/** Before Vault, and answers whoever has this token with 503 while it is shut. */
class VaultGate {
  isShut = false;
  readonly #server: Server;

  static async before({ url }: VaultServer, token: string): Promise<VaultGate> {
    const gate = new VaultGate(url, token);
    gate.#server.listen(0, "127.0.0.1");
    await once(gate.#server, "listening");
    return gate;
  }

  private constructor(url: string, token: string) {
    this.#server = createServer((request, response) => {
      const { method = "GET", headers } = request;
      if (this.isShut && headers["x-vault-token"] === token) {
        response.writeHead(503).end('{"errors":["Vault is sealed"]}');
        return;
      }
      const onward = requestTo(`${url}${request.url}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      });
      onward.on("error", () => response.destroy());
      request.pipe(onward);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function everythingOn(connection: NatsConnection) {
  const heard = { text: "", subjects: new Set<string>() };
  connection.subscribe(">", {
    callback: (_error, { subject, data }) => {
      heard.subjects.add(subject);
      heard.text += `${subject} ${Buffer.from(data)}\n`;
    },
  });
  return heard;
}

function filesWith(folder: string, text: string): readonly string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  expect(files.length).toBeGreaterThan(2);
  return files
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((file) => readFileSync(file).includes(text));
}

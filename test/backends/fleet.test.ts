/** Several hosts with one secret, and an operator who replaces it, over a real bus and a real Vault. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import { Host, hash, OLD, PATH, PATIENCE_MS } from "../helpers/fleet-room.ts";
import { NatsServer } from "../helpers/nats-server.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { until } from "../helpers/server-process.ts";
import { VaultServer } from "../helpers/vault-server.ts";

const closings: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
}, PATIENCE_MS);

let vault: VaultServer;
let nats: NatsServer;
let tls: PrivateCa;

const NAMES: Record<string, { profile: string; provider: string }> = {
  "web-1": { profile: "p", provider: "vault" },
  "web.2": { profile: "q", provider: "prod-vault" },
  "web-3": { profile: "p", provider: "vault" },
};
const passwordOf = (name: string) => `canary-password-of-${name}`;

function host(name: string, { user = `mcp-run-${name.replace(".", "=2E")}`, more = "" } = {}): Host {
  const fleet = `servers: "${nats.url}", ca: ${caFile}, inventory: [web-1, web.2, web-3, db-9]`;
  const options = { vault, fleet, credentials: `${user}:${passwordOf(name)}`, more, ...NAMES[name] };
  const made = new Host(name, options);
  closings.push(() => made.close());
  return made;
}

let caFile = "";

/** A user of the configuration as `fleet permissions` prints it, with a password of ours. */
function userOf(name: string, ...args: readonly string[]): string {
  const { home } = host(name);
  const { stdout, stderr, status } = home.run(["fleet", "permissions", ...args]);
  expect(status, stderr).toBe(0);
  expect(stdout).not.toContain("canary");
  return stdout.replace(/password: "…".*/, `password: "${passwordOf(name)}"`);
}

describeBackend("a key of several hosts", ["vault", "nats-server"], () => {
  beforeEach(async () => {
    vault = await VaultServer.start();
    closings.push(() => vault.stop());
    await vault.must("POST", PATH, { data: { key: OLD } });
    tls = await privateCa();
    caFile = await vault.keep("nats-ca.pem", tls.ca);
    nats = await NatsServer.start({ tls });
    closings.push(() => nats.stop());
    const users = [
      ...Object.entries(NAMES).map(([name, { profile }]) => userOf(name, profile, "--host", name)),
      userOf("ops", "--operator"),
      '{ user: watcher, password: canary-watcher, permissions: { subscribe: ">" } }',
    ];
    await nats.pause();
    await nats.configure({
      tls,
      accounts: `accounts { FLEET { jetstream: enabled, users: [\n${users.join("\n")}\n] } }`,
    });
    await nats.resume();
  }, 120_000);

  it("is new to all that are there, and those who are not are named, and catch up", async () => {
    const ops = host("ops", { user: "mcp-run-operator" });
    expect(ops.run("fleet", "setup").stdout).toBe("bucket mcp-run: made\nstream mcp-run-hosts: made\n");
    const hosts = Object.keys(NAMES).map((name) => host(name));
    const [one, , three] = hosts as [Host, Host, Host];
    for (const each of hosts) await each.serve();
    for (const each of hosts) await each.untilOnTheBus("connected");
    process.kill(three.pid, "SIGSTOP");

    const rotated = ops.run("rotate", "p", "--reason", "leaked in build log", "--yes");

    expect(rotated.stdout + rotated.stderr).toContain("2 acknowledged, 2 unknown");
    expect(rotated.stdout).toMatch(/nothing is known of p on web-3 \(last heard 20/);
    expect(rotated.stdout).toMatch(/nothing is known of db-9 \(never heard\)/);
    expect(rotated.status, rotated.stdout + rotated.stderr).toBe(0);
    const key = hash((await vault.must("GET", PATH)).data.data.key);
    expect(key).not.toBe(hash(OLD));
    for (const each of hosts.slice(0, 2)) expect((await each.told()).key).toBe(key);
    process.kill(three.pid, "SIGCONT");
    await until("it has caught up", async () => (await three.told()).key === key, PATIENCE_MS);
    expect((await one.told()).variables.filter((name) => /NATS|FLEET/.test(name))).toEqual([]);
  }, 180_000);
});

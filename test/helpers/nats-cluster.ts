/** The three servers of docs/fleet, as the guide has them, on loopback: other addresses and files, nothing else. */
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backendPath } from "./backends.ts";
import { ROOT } from "./installation.ts";
import type { PrivateCa } from "./private-ca.ts";
import { freePort, ServerProcess, startedAtLast } from "./server-process.ts";

export const NAMES = ["nats-1", "nats-2", "nats-3"] as const;

export class NatsCluster {
  readonly #home: string;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #servers = new Map<string, ServerProcess>();

  /** @param users entries as `mcp-run fleet permissions` prints them */
  static start(tls: PrivateCa, users: readonly string[]): Promise<NatsCluster> {
    return startedAtLast(() => NatsCluster.#start(tls, users));
  }

  static async #start(tls: PrivateCa, users: readonly string[]): Promise<NatsCluster> {
    const home = await mkdtemp(join(tmpdir(), "nats-cluster-"));
    const ports = new Map<string, number>();
    for (const name of [...NAMES, ...NAMES.map((name) => `${name} routes`)])
      ports.set(name, await freePort());
    const cluster = new NatsCluster(home, ports);
    try {
      await cluster.#write(tls, users);
      for (const name of NAMES) cluster.#spawn(name);
      for (const name of NAMES) await cluster.#untilReady(name);
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  private constructor(home: string, ports: ReadonlyMap<string, number>) {
    this.#home = home;
    this.#ports = ports;
  }

  get urls(): readonly string[] {
    return NAMES.map((name) => this.urlOf(name));
  }

  urlOf(name: string): string {
    return `tls://127.0.0.1:${this.#ports.get(name)}`;
  }

  /** At once, as when its machine is lost. */
  kill(name: string): void {
    this.#signal(name, "SIGKILL");
  }

  /** It neither answers nor hangs up, as when the way to it is lost. */
  hold(name: string): void {
    this.#signal(name, "SIGSTOP");
  }

  release(name: string): void {
    this.#signal(name, "SIGCONT");
  }

  #signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.#servers.get(name)?.pid;
    if (pid === undefined) throw new Error(`there is no server ${name}`);
    process.kill(pid, signal);
  }

  /** The one that was killed, with what it has stored; resolves when it lets clients in. */
  async revive(name: string): Promise<void> {
    await this.#servers.get(name)?.end();
    this.#spawn(name);
    await this.#untilReady(name);
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.values()) await server.end();
    await rm(this.#home, { recursive: true, force: true });
  }

  #spawn(name: string): void {
    const home = this.#home;
    const args = ["-c", join(home, `${name}.conf`), "-l", join(home, `${name}.log`)];
    this.#servers.set(name, new ServerProcess({ program: backendPath("nats-server"), args, home }));
  }

  async #untilReady(name: string): Promise<void> {
    await this.#servers.get(name)?.untilReady(() => isOpen(this.#ports.get(name) ?? 0));
  }

  async #write(tls: PrivateCa, users: readonly string[]): Promise<void> {
    const put = (name: string, text: string) => writeFile(join(this.#home, name), text, { mode: 0o600 });
    await put("ca.pem", tls.ca);
    await put("users.conf", `users: [\n${users.join("\n")}\n]\n`);
    await put("accounts.conf", documented("accounts.conf"));
    for (const name of NAMES) {
      await put(`${name}.pem`, tls.cert);
      await put(`${name}.key`, tls.key);
      await mkdir(join(this.#home, `${name}-store`));
      const text = documented(`${name}.conf`)
        .replaceAll(
          /nats:\/\/(nats-\d)\.example\.com:6222/g,
          (_all, other) => `nats://127.0.0.1:${this.#ports.get(`${other} routes`)}`,
        )
        .replace('"0.0.0.0:4222"', `"127.0.0.1:${this.#ports.get(name)}"`)
        .replace('"0.0.0.0:6222"', `"127.0.0.1:${this.#ports.get(`${name} routes`)}"`)
        .replace(/^(tls \{)$/m, "$1\n  timeout: 30")
        .replace("/var/lib/nats", join(this.#home, `${name}-store`))
        .replaceAll("/etc/nats/", `${this.#home}/`);
      await put(`${name}.conf`, text);
    }
  }
}

function documented(file: string): string {
  return readFileSync(join(ROOT, "docs/fleet", file), "utf8");
}

/** It says INFO to whoever connects. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const done = (isReady: boolean) => {
      socket.destroy();
      resolve(isReady);
    };
    socket.once("data", () => done(true)).once("error", () => done(false));
  });
}

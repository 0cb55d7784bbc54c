/**
 * A real nats-server on loopback with JetStream, and the users that a test asks for, all in one account. It can be
 * stopped and started again with what it has stored, and speaks TLS where it is given a certificate.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backendPath } from "./backends.ts";
import type { PrivateCa } from "./private-ca.ts";
import { until } from "./processes.ts";
import { freePort, ServerProcess, startedAtLast } from "./server-process.ts";

export interface NatsServerOptions {
  /** Lines of the configuration that say who is let in; without it one user `op`, who may do everything. */
  readonly accounts?: string;
  readonly tls?: PrivateCa;
  /** Bytes that a message may have; without it the server's own 1 MiB. */
  readonly maxPayload?: number;
  /** Without JetStream there is neither bucket nor stream. */
  readonly hasJetStream?: boolean;
  /** An address of loopback. */
  readonly address?: string;
  readonly port?: number;
}

export const OPERATOR = "op:canary-operator";

export class NatsServer {
  readonly port: number;
  readonly #home: string;
  readonly #address: string;
  readonly #scheme: string;
  #process: ServerProcess | undefined;

  static start(options: NatsServerOptions = {}): Promise<NatsServer> {
    return startedAtLast(() => NatsServer.#start(options));
  }

  static async #start(options: NatsServerOptions): Promise<NatsServer> {
    const home = await mkdtemp(join(tmpdir(), "nats-server-"));
    const server = new NatsServer(home, options.port ?? (await freePort()), options);
    await server.configure(options);
    await server.resume();
    return server;
  }

  private constructor(home: string, port: number, { address = "127.0.0.1", tls }: NatsServerOptions) {
    this.#home = home;
    this.port = port;
    this.#address = address;
    this.#scheme = tls ? "tls" : "nats";
  }

  get url(): string {
    return `${this.#scheme}://${this.#address}:${this.port}`;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The folder of what JetStream keeps. */
  get store(): string {
    return join(this.#home, "store");
  }

  /** What it has said. */
  get log(): string {
    return readFileSync(join(this.#home, "log"), "utf8");
  }

  /** Writes the configuration; it counts from the next `resume` or `reload`. */
  async configure({ accounts, tls, maxPayload, hasJetStream = true }: NatsServerOptions): Promise<void> {
    const lines = [
      `listen: "${this.#address}:${this.port}"`,
      'server_name: "test"',
      `log_file: "${this.#home}/log"`,
      "max_connections: 64K",
      // Its two seconds for who comes in are too few for a client on a busy machine.
      "authorization { timeout: 30 }",
      ...(maxPayload === undefined ? [] : [`max_payload: ${maxPayload}`]),
      ...(hasJetStream ? [`jetstream { store_dir: "${this.#home}/store" }`] : []),
      accounts ?? accountOf([`{ user: op, password: canary-operator }`], hasJetStream),
    ];
    if (tls) {
      await writeFile(join(this.#home, "key.pem"), tls.key, { mode: 0o600 });
      await writeFile(join(this.#home, "cert.pem"), tls.cert);
      lines.push(
        `tls { cert_file: "${this.#home}/cert.pem", key_file: "${this.#home}/key.pem", timeout: 30 }`,
      );
    }
    await writeFile(join(this.#home, "nats.conf"), `${lines.join("\n")}\n`);
  }

  /** Ends it, and keeps what it has stored. */
  async pause(): Promise<void> {
    await this.#process?.end();
    this.#process = undefined;
  }

  async resume(): Promise<void> {
    const args = ["-c", join(this.#home, "nats.conf")];
    this.#process = new ServerProcess({ program: backendPath("nats-server"), args, home: this.#home });
    try {
      await this.#process.untilReady(() => this.#isReady());
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Has it read its configuration anew, and waits until it is through with that: meanwhile it knows no users. */
  async reload(): Promise<void> {
    const reloads = () => this.log.split("Reloaded server configuration").length;
    const before = reloads();
    if (this.pid === undefined) throw new Error("the server does not run");
    process.kill(this.pid, "SIGHUP");
    await until("the server has read its configuration", () => reloads() > before);
  }

  async stop(): Promise<void> {
    await this.pause();
    await rm(this.#home, { recursive: true, force: true });
  }

  /** It says INFO to whoever connects, when it is through with its start. */
  #isReady(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, this.#address);
      const done = (isReady: boolean) => {
        socket.destroy();
        resolve(isReady);
      };
      socket.once("data", () => done(true)).once("error", () => done(false));
    });
  }
}

/** @param users lines of a configuration: `{ user: a, password: b }` */
export function accountOf(users: readonly string[], hasJetStream = true): string {
  const jetstream = hasJetStream ? "jetstream: enabled, " : "";
  return `accounts { FLEET { ${jetstream}users: [\n${users.join("\n")}\n] } }`;
}

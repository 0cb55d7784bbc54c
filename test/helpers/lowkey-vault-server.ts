/**
 * lowkey-vault, an emulator of Azure Key Vault, on loopback: one vault, emptied for each test. It takes any token.
 * The Java to run it is $MCP_RUN_TEST_JAVA, else the one in the PATH. (Its other port, which plays a managed
 * identity, can't be told where to listen.)
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type Agent, Agent as HttpsAgent, request } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { backendPath } from "./backends.ts";

const READY_MS = 90_000;
const STOP_MS = 5_000;
const LOOK_MS = 200;

export class LowkeyVaultServer {
  readonly #process: ChildProcess;
  readonly #home: string;
  readonly #port: number;
  #agent: Agent | undefined;
  #failure: Error | undefined;

  static async start(): Promise<LowkeyVaultServer> {
    const home = await mkdtemp(join(tmpdir(), "lowkey-vault-"));
    const port = await freePort();
    const args = [
      "-Xmx256m",
      "-XX:TieredStopAtLevel=1",
      "-XX:+UseSerialGC",
      "-jar",
      backendPath("lowkey-vault"),
      "--server.address=127.0.0.1",
      `--server.port=${port}`,
      "--app.token.port=0",
      "--LOWKEY_VAULT_NAMES=-",
    ];
    // Its log would fill a pipe that nobody reads.
    const child = spawn(process.env.MCP_RUN_TEST_JAVA || "java", args, {
      cwd: home,
      env: { HOME: home, PATH: process.env.PATH },
      stdio: "ignore",
    });
    const server = new LowkeyVaultServer(child, home, port);
    try {
      await server.#untilReady();
      await server.empty();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private constructor(child: ChildProcess, home: string, port: number) {
    this.#process = child;
    this.#home = home;
    this.#port = port;
    child.on("error", (error) => {
      this.#failure = error;
    });
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** PEM: the server's own certificate, which nobody else has signed. */
  get caFile(): string {
    return join(this.#home, "ca.pem");
  }

  /** Makes the vault anew: no secret, none deleted. */
  async empty(): Promise<void> {
    const vault = encodeURIComponent(this.url);
    await this.api("DELETE", `/management/vault?baseUri=${vault}`);
    await this.api("DELETE", `/management/vault/purge?baseUri=${vault}`);
    const body = { baseUri: this.url, recoveryLevel: "Recoverable+Purgeable", recoverableDays: 90 };
    const { status, text } = await this.api("POST", "/management/vault", body);
    if (status !== 200) throw new Error(`no vault could be made: ${status} ${text}`);
  }

  /** One request with some token. Never rejects for a status. */
  async api(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
    const outgoing = request(`${this.url}${path}`, {
      method,
      ...(this.#agent && { agent: this.#agent }),
      headers: { authorization: "Bearer any", "content-type": "application/json" },
    });
    outgoing.end(body && JSON.stringify(body));
    const [incoming] = await once(outgoing, "response");
    let text = "";
    for await (const chunk of incoming) text += chunk;
    return { status: incoming.statusCode ?? 0, text };
  }

  async stop(): Promise<void> {
    this.#agent?.destroy();
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      const exited = once(this.#process, "exit");
      this.#process.kill("SIGTERM");
      const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS);
      await exited;
      clearTimeout(timer);
    }
    await rm(this.#home, { recursive: true, force: true });
  }

  async #untilReady(): Promise<void> {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      if (this.#failure) throw this.#failure;
      const { exitCode } = this.#process;
      if (exitCode !== null) throw new Error(`lowkey-vault has ended with ${exitCode}`);
      const certificate = await this.#certificate().catch(() => undefined);
      if (certificate !== undefined) {
        await writeFile(this.caFile, certificate);
        this.#agent = new HttpsAgent({ ca: certificate, keepAlive: true });
        if ((await this.api("GET", "/ping").catch(() => undefined))?.status === 200) return;
      }
      if (performance.now() > deadline) throw new Error(`lowkey-vault was not ready within ${READY_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Looked at without trust, once, to be trusted alone from then on. */
  async #certificate(): Promise<string> {
    const socket = connect({ port: this.#port, host: "127.0.0.1", rejectUnauthorized: false });
    try {
      await once(socket, "secureConnect");
      const der = socket.getPeerCertificate().raw.toString("base64");
      return `-----BEGIN CERTIFICATE-----\n${der.replace(/(.{64})/g, "$1\n").trimEnd()}\n-----END CERTIFICATE-----\n`;
    } finally {
      socket.destroy();
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

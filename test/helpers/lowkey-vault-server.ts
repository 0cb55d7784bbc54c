/**
 * lowkey-vault, an emulator of Azure Key Vault, on loopback: one vault, emptied for each test. It takes any token.
 * The Java to run it is $MCP_RUN_TEST_JAVA, else the one in the PATH. (Its other port, which plays a managed
 * identity, can't be told where to listen.)
 */
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { type Agent, Agent as HttpsAgent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { backendPath } from "./backends.ts";
import { freePort, prepared, ServerProcess, startedAtLast } from "./server-process.ts";

export class LowkeyVaultServer {
  readonly #process: ServerProcess;
  readonly #port: number;
  #agent: Agent | undefined;

  static start(): Promise<LowkeyVaultServer> {
    return startedAtLast(() => LowkeyVaultServer.#start());
  }

  static async #start(): Promise<LowkeyVaultServer> {
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
    const program = process.env.MCP_RUN_TEST_JAVA || "java";
    const child = new ServerProcess({ program, args, home, cwd: home });
    const server = new LowkeyVaultServer(child, port);
    return prepared(server, async () => {
      await child.untilReady(() => server.#isReady());
      await server.empty();
    });
  }

  private constructor(child: ServerProcess, port: number) {
    this.#process = child;
    this.#port = port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** PEM: the server's own certificate, which nobody else has signed. */
  get caFile(): string {
    return join(this.#process.home, "ca.pem");
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
    await this.#process.stop();
  }

  async #isReady(): Promise<boolean> {
    if (!this.#agent) {
      const certificate = await this.#certificate();
      await writeFile(this.caFile, certificate);
      this.#agent = new HttpsAgent({ ca: certificate, keepAlive: true });
    }
    return (await this.api("GET", "/ping")).status === 200;
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

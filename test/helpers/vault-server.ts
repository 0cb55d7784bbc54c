/**
 * A real Vault (or OpenBao) in dev mode on loopback: in memory, unsealed, with a root token that the test knows. Its
 * other listener speaks TLS with a certificate of the test's own, where one is given.
 */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backendPath } from "./backends.ts";
import type { PrivateCa } from "./private-ca.ts";
import { freePort, prepared, ServerProcess, startedAtLast, until } from "./server-process.ts";

export const ROOT_TOKEN = "canary-root";

export interface ApiAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads of it, it knows
  readonly json: any;
}

export class VaultServer {
  readonly #process: ServerProcess;
  readonly url: string;
  readonly #tlsUrl: string | undefined;
  #mounts = 0;

  static start(tls?: PrivateCa): Promise<VaultServer> {
    return startedAtLast(() => VaultServer.#start(tls));
  }

  static async #start(tls: PrivateCa | undefined): Promise<VaultServer> {
    const home = await mkdtemp(join(tmpdir(), "vault-server-"));
    const [port, tlsPort] = [await freePort(), await freePort()];
    const args = [
      "server",
      "-dev",
      `-dev-root-token-id=${ROOT_TOKEN}`,
      `-dev-listen-address=127.0.0.1:${port}`,
    ];
    if (tls) {
      await writeFile(join(home, "key.pem"), tls.key);
      await writeFile(join(home, "cert.pem"), tls.cert);
      const files = `tls_key_file = "${home}/key.pem"\n  tls_cert_file = "${home}/cert.pem"`;
      await writeFile(
        join(home, "tls.hcl"),
        `listener "tcp" {\n  address = "127.0.0.1:${tlsPort}"\n  ${files}\n}\n`,
      );
      args.push(`-config=${home}/tls.hcl`);
    }
    const child = new ServerProcess({ program: backendPath("vault"), args, home });
    const server = new VaultServer(child, `http://127.0.0.1:${port}`, tls && `https://127.0.0.1:${tlsPort}`);
    return prepared(server, () => child.untilReady(() => server.#isReady()));
  }

  private constructor(child: ServerProcess, url: string, tlsUrl: string | undefined) {
    this.#process = child;
    this.url = url;
    this.#tlsUrl = tlsUrl;
  }

  /** The address of the listener with TLS; it has one if it was started with a certificate. */
  get tlsUrl(): string {
    if (this.#tlsUrl === undefined) throw new Error("this server was started without a certificate");
    return this.#tlsUrl;
  }

  /** Writes a file that goes when the server is stopped; its path. */
  async keep(name: string, text: string): Promise<string> {
    const path = join(this.#process.home, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }

  /** One request as root, or with another token. Never rejects for a status. */
  async api(
    method: "GET" | "POST" | "LIST" | "DELETE",
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ApiAnswer> {
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { "X-Vault-Token": ROOT_TOKEN, ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, json: text === "" ? undefined : JSON.parse(text) };
  }

  /** Like api; throws when the server refuses. */
  async must(...[method, path, body, headers]: Parameters<VaultServer["api"]>): Promise<ApiAnswer["json"]> {
    const { status, json } = await this.api(method, path, body, headers);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(json)}`);
    return json;
  }

  /** A KV mount of its own, ready to be used; its path. */
  async mountKv(version: 1 | 2): Promise<string> {
    const path = `kv-${++this.#mounts}`;
    await this.must("POST", `sys/mounts/${path}`, { type: "kv", options: { version: String(version) } });
    // A mount of version 2 says for a moment that it is being upgraded.
    const list = () => this.api("LIST", version === 2 ? `${path}/metadata` : path);
    await until("the mount is ready", async () => (await list()).status === 404);
    return path;
  }

  /** A token that may do only what these policies in HCL say. */
  async tokenWith(policy: string, options: object = {}): Promise<string> {
    const name = `policy-${++this.#mounts}`;
    await this.must("POST", `sys/policies/acl/${name}`, { policy });
    const { auth } = await this.must("POST", "auth/token/create", { policies: [name], ...options });
    return auth.client_token;
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  async #isReady(): Promise<boolean> {
    // The KV mount that dev mode makes comes last.
    return (await this.api("LIST", "secret/metadata")).status === 404;
  }
}

/**
 * A real moto server on loopback: Secrets Manager, STS and IAM, in memory. With `mended` it is told the rules that it
 * knows otherwise than the API reference of UpdateSecretVersionStage states them: a label that another version bears
 * is moved only from there, and a moved AWSCURRENT is what a read without a version gives. One request at a time
 * changes a secret then, since the service has no races inside itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backendPath } from "./backends.ts";

const READY_MS = 30_000;
const STOP_MS = 5_000;
export const MOTO_REGION = "eu-west-1";

/** Python imports a module of this name at its start. */
const MENDED = `
import threading
from moto.secretsmanager.exceptions import InvalidParameterException
from moto.secretsmanager.models import SecretsManagerBackend as Backend

lock = threading.RLock()

def move(self, secret_id, version_stage, remove_from_version_id, move_to_version_id, plain=Backend.update_secret_version_stage):
    secret = self.secrets.get(secret_id)
    versions = secret.versions if secret else {}
    bearers = [id for id, version in versions.items() if version_stage in version["version_stages"]]
    if move_to_version_id and not remove_from_version_id and any(id != move_to_version_id for id in bearers):
        raise InvalidParameterException(f"The parameter RemoveFromVersionId can't be empty. Staging label {version_stage} is currently attached to version {bearers[0]}")
    if move_to_version_id in bearers:
        return secret.arn, secret.name
    answer = plain(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
    if version_stage == "AWSCURRENT" and move_to_version_id:
        secret.set_default_version_id(move_to_version_id)
    return answer

Backend.update_secret_version_stage = move

def one_at_a_time(work):
    def locked(*args, **named):
        with lock:
            return work(*args, **named)
    return locked

for name in ["update_secret_version_stage", "put_secret_value", "create_secret", "delete_secret"]:
    setattr(Backend, name, one_at_a_time(getattr(Backend, name)))
`;

export interface MotoOptions {
  readonly mended?: true;
}

export class MotoServer {
  readonly #process: ChildProcess;
  readonly #home: string;
  readonly url: string;
  #failure: Error | undefined;

  static async start({ mended }: MotoOptions = {}): Promise<MotoServer> {
    const home = await mkdtemp(join(tmpdir(), "moto-server-"));
    if (mended) await writeFile(join(home, "sitecustomize.py"), MENDED);
    const port = await freePort();
    // Standard streams are closed: its log would fill a pipe that nobody reads.
    const child = spawn(backendPath("moto"), ["-H", "127.0.0.1", "-p", String(port)], {
      env: { HOME: home, PATH: process.env.PATH, ...(mended && { PYTHONPATH: home }) },
      stdio: "ignore",
    });
    const server = new MotoServer(child, home, `http://127.0.0.1:${port}`);
    try {
      await until("the server is ready", () => server.#isReady());
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private constructor(child: ChildProcess, home: string, url: string) {
    this.#process = child;
    child.on("error", (error) => {
      this.#failure = error;
    });
    this.#home = home;
    this.url = url;
  }

  /** Forgets every secret, role and user, and lets everybody do everything again. */
  async reset(): Promise<void> {
    await this.enforceIam(false);
    const { status } = await fetch(`${this.url}/moto-api/reset`, { method: "POST" });
    if (status !== 200) throw new Error(`moto-api/reset: ${status}`);
  }

  /** From here on each request needs a valid signature and a policy that allows it. */
  async enforceIam(enforced: boolean): Promise<void> {
    const body = enforced ? "0" : "inf";
    const { status } = await fetch(`${this.url}/moto-api/reset-auth`, { method: "POST", body });
    if (status !== 200) throw new Error(`moto-api/reset-auth: ${status}`);
  }

  /** One operation of Secrets Manager, past the provider. Throws when the server refuses. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads of it, it knows
  async must(operation: string, input: object): Promise<any> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `secretsmanager.${operation}`,
        authorization: scope("secretsmanager"),
      },
      body: JSON.stringify(input),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${operation}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  /** The keys of a new user who may do what the policy says, and nothing else. */
  async userWith(policy: object): Promise<{ accessKeyId: string; secretAccessKey: string }> {
    const UserName = `user-${Math.random().toString(36).slice(2)}`;
    await this.#iam({ Action: "CreateUser", UserName });
    await this.#iam({
      Action: "PutUserPolicy",
      UserName,
      PolicyName: "policy",
      PolicyDocument: JSON.stringify(policy),
    });
    const keys = await this.#iam({ Action: "CreateAccessKey", UserName });
    const read = (tag: string) => new RegExp(`<${tag}>([^<]+)</${tag}>`).exec(keys)?.[1] ?? "";
    return { accessKeyId: read("AccessKeyId"), secretAccessKey: read("SecretAccessKey") };
  }

  async stop(): Promise<void> {
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

  async #iam(parameters: Readonly<Record<string, string>>): Promise<string> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { authorization: scope("iam"), "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ Version: "2010-05-08", ...parameters }).toString(),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${parameters.Action}: ${response.status} ${text}`);
    return text;
  }

  async #isReady(): Promise<boolean> {
    if (this.#failure) throw this.#failure;
    const { exitCode } = this.#process;
    if (exitCode !== null) throw new Error(`the server has ended with ${exitCode}`);
    try {
      return (await fetch(`${this.url}/moto-api/data.json`)).status === 200;
    } catch {
      return false;
    }
  }
}

/** By it the server finds the service that is meant; it looks at the signature only when IAM is enforced. */
function scope(service: string): string {
  return `AWS4-HMAC-SHA256 Credential=test/20260101/${MOTO_REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${READY_MS} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

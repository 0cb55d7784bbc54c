/**
 * A real moto server on loopback: Secrets Manager, STS and IAM, in memory. With `mended` it is told the rules that it
 * knows otherwise than the API reference of UpdateSecretVersionStage states them: a label that another version bears
 * is moved only from there, and a moved AWSCURRENT is what a read without a version gives. RotateSecret keeps to the
 * function that is configured, and leaves the work to it: whoever tests is that function. One request at a time changes a
 * secret then, since the service has no races inside itself.
 */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backendPath } from "./backends.ts";
import { freePort, prepared, ServerProcess, startedAtLast } from "./server-process.ts";

export const MOTO_REGION = "eu-west-1";

/** Python imports a module of this name at its start. */
const MENDED = `
import threading
import time
from moto.secretsmanager.exceptions import InvalidParameterException, InvalidRequestException
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

def rotate(self, secret_id, client_request_token=None, rotation_lambda_arn=None, rotation_rules=None, rotate_immediately=True, plain=Backend.rotate_secret):
    secret = self.secrets.get(secret_id)
    function = rotation_lambda_arn or (secret.rotation_lambda_arn if secret else None)
    if not function:
        return plain(self, secret_id, client_request_token, rotation_lambda_arn, rotation_rules, rotate_immediately)
    bearers = [id for id, version in secret.versions.items() if "AWSPENDING" in version["version_stages"] and "AWSCURRENT" not in version["version_stages"]]
    if bearers and bearers != [client_request_token]:
        raise InvalidRequestException("A previous rotation isn't complete. That rotation will be reattempted.")
    secret.rotation_lambda_arn = function
    secret.rotation_enabled = secret.rotation_requested = True
    if rotate_immediately and client_request_token not in secret.versions:
        secret.versions[client_request_token] = {"createdate": int(time.time()), "version_id": client_request_token, "version_stages": ["AWSPENDING"]}
    return secret.to_short_dict()

Backend.rotate_secret = rotate

def one_at_a_time(work):
    def locked(*args, **named):
        with lock:
            return work(*args, **named)
    return locked

for name in ["rotate_secret", "update_secret_version_stage", "put_secret_value", "create_secret", "delete_secret"]:
    setattr(Backend, name, one_at_a_time(getattr(Backend, name)))
`;

export interface MotoOptions {
  readonly mended?: true;
}

export class MotoServer {
  readonly #process: ServerProcess;
  readonly url: string;

  static start(options: MotoOptions = {}): Promise<MotoServer> {
    return startedAtLast(() => MotoServer.#start(options));
  }

  static async #start({ mended }: MotoOptions): Promise<MotoServer> {
    const home = await mkdtemp(join(tmpdir(), "moto-server-"));
    if (mended) await writeFile(join(home, "sitecustomize.py"), MENDED);
    const port = await freePort();
    const child = new ServerProcess({
      program: backendPath("moto"),
      args: ["-H", "127.0.0.1", "-p", String(port)],
      home,
      ...(mended && { env: { PYTHONPATH: home } }),
    });
    const server = new MotoServer(child, `http://127.0.0.1:${port}`);
    return prepared(server, () => child.untilReady(() => server.#isReady()));
  }

  private constructor(child: ServerProcess, url: string) {
    this.#process = child;
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
    await this.#process.stop();
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
    return (await fetch(`${this.url}/moto-api/data.json`)).status === 200;
  }
}

/** By it the server finds the service that is meant; it looks at the signature only when IAM is enforced. */
function scope(service: string): string {
  return `AWS4-HMAC-SHA256 Credential=test/20260101/${MOTO_REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
}

/**
 * AWS Secrets Manager on loopback for the real SDK: AWS JSON 1.1, the rules of versions and staging labels as the API
 * reference states them, and errors with the bodies and status codes that the service sends. STS answers at the
 * same address. A test can put any other answer in place of the service's own, and counts the requests.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { attach, bearerOf, type Entry, labelsOf, type Version } from "./fake-secret-versions.ts";

const ACCOUNT = "123456789012";
const MAX_BYTES = 65_536;
/** Of the values in one answer to BatchGetSecretValue. */
const MAX_BATCH_BYTES = 1024 * 1024;
export const FAKE_REGION = "eu-west-1";

type Input = Readonly<Record<string, unknown>>;

export interface SeenRequest {
  /** `GetSecretValue`, or `AssumeRole` for STS. */
  readonly operation: string;
  readonly input: Input;
  /** The access key that has signed it. */
  readonly accessKeyId: string | undefined;
}

/** What is sent instead of the service's own answer. */
export interface Instead {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An error of the service, with the body that it sends. */
export function awsError(code: string, message = "", status = 400): Instead {
  return { status, body: JSON.stringify({ __type: code, Message: message }) };
}

class Refusal extends Error {
  readonly instead: Instead;

  constructor(code: string, message: string) {
    super(code);
    this.instead = awsError(code, message);
  }
}

export class FakeSecretsManager {
  url = "";
  readonly requests: SeenRequest[] = [];
  /** Asked before each request; undefined lets it through. */
  instead: (request: SeenRequest) => Instead | "silence" | undefined = () => undefined;
  /** What AssumeRole gives out. */
  roleKeys = {
    accessKeyId: "canary-role-key",
    secretAccessKey: "canary-role-secret",
    sessionToken: "canary-role-token",
  };
  readonly #entries = new Map<string, Entry>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #now = 1_770_000_000;

  static async start(): Promise<FakeSecretsManager> {
    const fake = new FakeSecretsManager();
    const server = createServer(
      { keepAliveTimeout: 0 },
      (request, response) => void fake.#serve(request, response),
    );
    server.on("connection", (socket: Socket) => {
      fake.#sockets.add(socket);
      socket.once("close", () => fake.#sockets.delete(socket));
    });
    fake.#server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    fake.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return fake;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** Forgets everything. */
  reset(): void {
    this.#entries.clear();
    this.requests.length = 0;
    this.instead = () => undefined;
  }

  /** A secret with a current value; an empty text is none, since the service keeps no empty value. */
  add(name: string, value: string | Uint8Array): string {
    const bytes = typeof value === "string" ? undefined : Buffer.from(value).toString("base64");
    return this.#create({
      Name: name,
      ...(bytes ? { SecretBinary: bytes } : value && { SecretString: value }),
    }).ARN;
  }

  /** A version without a value under that label, as a failed RotateSecret leaves it. */
  addEmptyVersion(name: string, label: string, id: string = randomUUID()): string {
    this.#find(name).versions.set(id, {
      id,
      text: undefined,
      bytes: undefined,
      createdAt: this.#now,
      labels: new Set([label]),
    });
    return id;
  }

  enableRotation(name: string): void {
    this.#find(name).rotatesItself = true;
  }

  /** The labels of each version, as DescribeSecret shows them. */
  labels(name: string): Record<string, string[]> {
    return labelsOf(this.#find(name));
  }

  /** Does what a request asks for, as if somebody else had sent it, or its answer had got lost. */
  carryOut({ operation, input }: Pick<SeenRequest, "operation" | "input">): void {
    this.#answer(operation, input);
  }

  /** How often each operation was asked for. */
  get counts(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { operation } of this.requests) counts[operation] = (counts[operation] ?? 0) + 1;
    return counts;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces).toString();
    const target = request.headers["x-amz-target"];
    const isSts = typeof target !== "string";
    const input = (isSts ? Object.fromEntries(new URLSearchParams(body)) : JSON.parse(body)) as Input;
    const operation = isSts ? String(input.Action) : target.replace("secretsmanager.", "");
    const accessKeyId = /Credential=([^/]+)\//.exec(request.headers.authorization ?? "")?.[1];
    const seen = { operation, input, accessKeyId };
    this.requests.push(seen);
    const instead = this.instead(seen);
    if (instead === "silence") return;
    const answer = instead ?? this.#answer(operation, input);
    response
      .writeHead(answer.status, {
        "content-type": isSts ? "text/xml" : "application/x-amz-json-1.1",
        "x-amzn-requestid": randomUUID(),
        ...answer.headers,
      })
      .end(answer.body ?? "");
  }

  #answer(operation: string, input: Input): Instead {
    if (operation.startsWith("AssumeRole")) return { status: 200, body: assumed(operation, this.roleKeys) };
    try {
      return { status: 200, body: JSON.stringify(this.#carryOut(operation, input)) };
    } catch (error) {
      if (error instanceof Refusal) return error.instead;
      throw error;
    }
  }

  #carryOut(operation: string, input: Input): object {
    switch (operation) {
      case "GetSecretValue":
        return this.#get(input);
      case "BatchGetSecretValue":
        return this.#batch(input.SecretIdList as string[]);
      case "DescribeSecret":
        return this.#describe(input);
      case "CreateSecret":
        return this.#create(input);
      case "PutSecretValue":
        return this.#put(input);
      case "UpdateSecretVersionStage":
        return this.#moveLabel(input);
      case "RotateSecret":
        return this.#rotate(input);
      case "DeleteSecret":
        return this.#delete(input);
      case "ListSecrets":
        return this.#list(input);
      default:
        throw new Refusal("UnknownOperationException", "");
    }
  }

  #find(id: string): Entry {
    for (const entry of this.#entries.values()) {
      if (id === entry.name || id === entry.arn || id === entry.arn.slice(0, -7)) return entry;
    }
    throw new Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
  }

  #findLive(id: string): Entry {
    const entry = this.#find(id);
    if (entry.deletedAt === undefined) return entry;
    throw new Refusal(
      "InvalidRequestException",
      "You can't perform this operation on the secret because it was marked for deletion.",
    );
  }

  #get(input: Input) {
    const entry = this.#findLive(input.SecretId as string);
    const id = input.VersionId as string | undefined;
    const label = (input.VersionStage as string | undefined) ?? (id === undefined ? "AWSCURRENT" : undefined);
    const version = id === undefined ? bearerOf(entry, label as string) : entry.versions.get(id);
    if (!version || (version.text === undefined && version.bytes === undefined)) {
      const what = id === undefined ? `staging label: ${label}` : `VersionId: ${id}`;
      throw new Refusal(
        "ResourceNotFoundException",
        `Secrets Manager can't find the specified secret value for ${what}`,
      );
    }
    return {
      ARN: entry.arn,
      Name: entry.name,
      VersionId: version.id,
      VersionStages: [...version.labels],
      CreatedDate: version.createdAt,
      ...(version.text !== undefined && { SecretString: version.text }),
      ...(version.bytes !== undefined && { SecretBinary: version.bytes }),
    };
  }

  #batch(ids: readonly string[]) {
    if (ids.length > 20) throw new Refusal("InvalidParameterException", "SecretIdList has at most 20 items");
    const values: object[] = [];
    const errors: object[] = [];
    let bytes = 0;
    for (const id of ids) {
      // What a request of the same secret alone would be answered with.
      const instead = this.instead({
        operation: "GetSecretValue",
        input: { SecretId: id },
        accessKeyId: undefined,
      });
      const failed = typeof instead === "object" ? instead : undefined;
      try {
        if (failed) throw Object.assign(new Refusal("", ""), { instead: failed });
        const value = this.#get({ SecretId: id });
        bytes += Buffer.byteLength(value.SecretString ?? value.SecretBinary ?? "");
        if (bytes > MAX_BATCH_BYTES) return { SecretValues: values, Errors: errors, NextToken: "more" };
        values.push(value);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        const { __type, Message } = JSON.parse(error.instead.body ?? "{}");
        errors.push({ SecretId: id, ErrorCode: __type, Message });
      }
    }
    return { SecretValues: values, Errors: errors };
  }

  #describe(input: Input) {
    const entry = this.#find(input.SecretId as string);
    return {
      ARN: entry.arn,
      Name: entry.name,
      Description: entry.description,
      DeletedDate: entry.deletedAt,
      RotationEnabled: entry.rotatesItself,
      VersionIdsToStages: labelsOf(entry),
    };
  }

  /** The work is left to the function: until it is done there is a version without a value. */
  #rotate(input: Input) {
    const entry = this.#findLive(input.SecretId as string);
    const id = input.ClientRequestToken as string;
    if (!entry.versions.has(id)) this.addEmptyVersion(entry.name, "AWSPENDING", id);
    return { ARN: entry.arn, Name: entry.name, VersionId: id };
  }

  #create(input: Input): { ARN: string } {
    const name = input.Name as string;
    const token = (input.ClientRequestToken as string | undefined) ?? randomUUID();
    const known = this.#entries.get(name);
    if (known) {
      if (known.deletedAt !== undefined) {
        throw new Refusal(
          "InvalidRequestException",
          "You can't create this secret because a secret with this name is already scheduled for deletion.",
        );
      }
      const version = known.versions.get(token);
      if (version && version.text === input.SecretString) return { ARN: known.arn };
      throw new Refusal(
        "ResourceExistsException",
        `The operation failed because the secret ${name} already exists.`,
      );
    }
    const arn = `arn:aws:secretsmanager:${FAKE_REGION}:${ACCOUNT}:secret:${name}-${randomBytes(3).toString("hex")}`;
    const entry: Entry = {
      name,
      arn,
      versions: new Map(),
      description: input.Description as string | undefined,
    };
    this.#entries.set(name, entry);
    if (input.SecretString !== undefined || input.SecretBinary !== undefined) {
      this.#addVersion(entry, token, input, ["AWSCURRENT"]);
    }
    return { ARN: arn };
  }

  #put(input: Input) {
    const entry = this.#findLive(input.SecretId as string);
    const token = input.ClientRequestToken as string;
    const there = entry.versions.get(token);
    // RotateSecret leaves one to be filled.
    const known = there?.text === undefined && there?.bytes === undefined ? undefined : there;
    if (known && known.text !== input.SecretString) {
      throw new Refusal(
        "ResourceExistsException",
        "You can't use ClientRequestToken because it is already in use",
      );
    }
    const first = entry.versions.size === 0 ? ["AWSCURRENT"] : [];
    const labels = [...((input.VersionStages as string[] | undefined) ?? ["AWSCURRENT"]), ...first];
    const version = known ?? this.#addVersion(entry, token, input, labels);
    return { ARN: entry.arn, Name: entry.name, VersionId: token, VersionStages: [...version.labels] };
  }

  #addVersion(entry: Entry, id: string, input: Input, labels: readonly string[]): Version {
    const text = input.SecretString as string | undefined;
    const bytes = input.SecretBinary as string | undefined;
    const size = Buffer.byteLength(text ?? bytes ?? "");
    if (size < 1 || size > MAX_BYTES) throw new Refusal("ValidationException", "length must be 1 to 65536");
    const version: Version = { id, text, bytes, createdAt: this.#now++, labels: new Set() };
    entry.versions.set(id, version);
    for (const label of labels) attach(entry, label, version);
    return version;
  }

  #moveLabel(input: Input) {
    const entry = this.#findLive(input.SecretId as string);
    const label = input.VersionStage as string;
    const [from, to] = [input.RemoveFromVersionId, input.MoveToVersionId] as (string | undefined)[];
    const bearer = bearerOf(entry, label);
    const target = to === undefined ? undefined : entry.versions.get(to);
    if (to !== undefined && !target) throw new Refusal("ResourceNotFoundException", "can't find VersionId");
    if (from !== undefined && bearer?.id !== from) {
      throw new Refusal(
        "InvalidParameterException",
        `The staging label ${label} isn't attached to version ${from}`,
      );
    }
    if (from === undefined && bearer && bearer !== target) {
      throw new Refusal(
        "InvalidParameterException",
        `The parameter RemoveFromVersionId can't be empty. Staging label ${label} is currently attached to version ${bearer.id}, so you must explicitly reference that version in RemoveFromVersionId.`,
      );
    }
    if (target) attach(entry, label, target);
    else if (label === "AWSCURRENT")
      throw new Refusal("InvalidParameterException", "AWSCURRENT can only be moved");
    else bearer?.labels.delete(label);
    return { ARN: entry.arn, Name: entry.name };
  }

  #delete(input: Input) {
    const id = input.SecretId as string;
    if (input.ForceDeleteWithoutRecovery === true) {
      this.#entries.delete(id);
      return { Name: id };
    }
    const entry = this.#findLive(id);
    entry.deletedAt = this.#now;
    return { ARN: entry.arn, Name: entry.name, DeletionDate: this.#now + 30 * 86_400 };
  }

  #list(input: Input) {
    const live = [...this.#entries.values()].filter(({ deletedAt }) => deletedAt === undefined);
    const start = Number(input.NextToken ?? 0);
    const end = start + Number(input.MaxResults ?? 100);
    return {
      SecretList: live.slice(start, end).map((entry) => ({
        ARN: entry.arn,
        Name: entry.name,
        LastChangedDate: this.#now,
        SecretVersionsToStages: labelsOf(entry),
      })),
      ...(end < live.length && { NextToken: String(end) }),
    };
  }
}

/** API reference of STS: AssumeRole and AssumeRoleWithWebIdentity. */
function assumed(operation: string, keys: FakeSecretsManager["roleKeys"]): string {
  const credentials = `<AccessKeyId>${keys.accessKeyId}</AccessKeyId><SecretAccessKey>${keys.secretAccessKey}</SecretAccessKey><SessionToken>${keys.sessionToken}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>`;
  return `<${operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${operation}Result><Credentials>${credentials}</Credentials></${operation}Result></${operation}Response>`;
}

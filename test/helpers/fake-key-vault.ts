/**
 * A vault of Azure Key Vault on loopback, over TLS, for the real SDK: the challenge before the first token, secrets
 * with versions, pages, soft delete, times of whole seconds, and errors with the bodies that the service sends. It
 * speaks the REST reference of the secrets API: https://learn.microsoft.com/rest/api/keyvault/secrets
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type PrivateCa, privateCa } from "./private-ca.ts";

const PAGE = 25;
const MAX_VALUE_LENGTH = 25 * 1024;
const TENANT = "11111111-2222-3333-4444-555555555555";
export const FAKE_TOKEN = "canary-token-of-the-fake-vault";

export interface Entry {
  readonly value: string;
  readonly enabled?: boolean;
  /** Seconds since the epoch. */
  readonly exp?: number;
  readonly nbf?: number;
  readonly contentType?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** The key of the certificate that the secret belongs to. */
  readonly kid?: string;
}

interface Version extends Entry {
  readonly id: string;
  readonly created: number;
  readonly updated: number;
}

interface Deleted {
  readonly versions: readonly Version[];
  readonly at: number;
}

export interface SeenRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly isAuthorized: boolean;
  readonly body: string;
}

/** What is sent instead of the service's own answer. */
export interface Instead {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

type Reply = Instead | "silence" | "half an answer";

export class FakeKeyVault {
  /** `https://127.0.0.1:PORT`. */
  url = "";
  readonly tls: PrivateCa;
  readonly requests: SeenRequest[] = [];
  /** What the vault says where a token is given out. */
  challenge = `Bearer authorization="https://login.microsoftonline.com/${TENANT}", resource="https://vault.azure.net"`;
  token = FAKE_TOKEN;
  /** Asked before each request that bears the token. */
  instead: (request: SeenRequest) => Reply | undefined = () => undefined;
  /** Runs before a new version is stored: the moment for another writer. */
  beforeSet: (name: string) => void = () => undefined;
  readonly #secrets = new Map<string, Version[]>();
  readonly #deleted = new Map<string, Deleted>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  private constructor(tls: PrivateCa) {
    this.tls = tls;
  }

  static async start(): Promise<FakeKeyVault> {
    const vault = new FakeKeyVault(await privateCa());
    const { key, cert } = vault.tls;
    const options = { key, cert, keepAliveTimeout: 0 };
    vault.#server = createServer(options, (request, response) => void vault.#serve(request, response));
    vault.#server.on("connection", (socket: Socket) => {
      vault.#sockets.add(socket);
      socket.once("close", () => vault.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => vault.#server?.listen(0, "127.0.0.1", resolve));
    vault.url = `https://127.0.0.1:${(vault.#server.address() as AddressInfo).port}`;
    return vault;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  /** Adds a version; returns its id. */
  add(name: string, entry: Entry): string {
    const now = Math.floor(Date.now() / 1000);
    const id = randomBytes(16).toString("hex");
    const known = this.#versionsOf(name);
    this.#secrets.set(keyOf(name), [...known, { ...entry, id, created: now, updated: now }]);
    return id;
  }

  /** As somebody else would do it. */
  disable(name: string, id: string): void {
    this.#update(name, id, { attributes: { enabled: false } });
  }

  /** Every value that a reader could still get, of every secret and side secret. */
  readableValues(): readonly string[] {
    return [...this.#secrets.values()]
      .flat()
      .flatMap(({ enabled, value }) => (enabled === false ? [] : [value]));
  }

  /** The versions of a secret, oldest first. */
  versions(name: string): readonly Version[] {
    return this.#versionsOf(name);
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  forgetRequests(): void {
    this.requests.length = 0;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const url = new URL(incoming.url ?? "/", this.url);
    const seen: SeenRequest = {
      method: incoming.method ?? "",
      path: url.pathname,
      isAuthorized: incoming.headers.authorization === `Bearer ${this.token}`,
      body: Buffer.concat(chunks).toString(),
    };
    this.requests.push(seen);
    const reply = seen.isAuthorized ? (this.instead(seen) ?? this.#answer(seen, url)) : this.#unauthorized();
    if (reply === "silence") return;
    if (reply === "half an answer") {
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      response.write('{"value":"canary-ha', () => response.destroy());
      return;
    }
    response.writeHead(reply.status, {
      "content-type": "application/json; charset=utf-8",
      "x-ms-request-id": randomUUID(),
      "x-ms-keyvault-region": "fake",
      ...reply.headers,
    });
    response.end(reply.body);
  }

  #unauthorized(): Instead {
    return {
      ...refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."),
      headers: { "www-authenticate": this.challenge },
    };
  }

  #answer({ method, path, body }: SeenRequest, url: URL): Instead {
    if (!url.searchParams.has("api-version")) {
      return refusal(400, "BadParameter", "api-version must be specified");
    }
    const [, collection, name = "", version = ""] = path.split("/").map(decodeURIComponent);
    if (name !== "" && !/^[0-9a-zA-Z-]{1,127}$/.test(name)) {
      return refusal(400, "BadParameter", `The request URI contains an invalid name: ${name}`);
    }
    if (collection === "deletedsecrets") return this.#deletedSecret(method, name, version);
    if (collection !== "secrets") return refusal(404, "NotFound", "no such collection");
    if (name === "") return this.#page(url, this.#listOfSecrets());
    if (method === "GET" && version === "versions") return this.#page(url, this.#listOfVersions(name));
    if (method === "GET") return this.#get(name, version);
    if (method === "PUT") return this.#set(name, JSON.parse(body || "{}"));
    if (method === "PATCH") return this.#update(name, version, JSON.parse(body));
    if (method === "DELETE") return this.#delete(name);
    return refusal(405, "MethodNotAllowed", "The HTTP method is not allowed");
  }

  #get(name: string, id: string): Instead {
    const versions = this.#versionsOf(name);
    const found = id === "" ? versions.at(-1) : versions.find((version) => version.id === id);
    if (!found)
      return notFound(`A secret with (name/id) ${name}${id && `/${id}`} was not found in this key vault.`);
    if (found.enabled === false) {
      return refusal(
        403,
        "Forbidden",
        "Operation get is not allowed on a disabled secret.",
        "SecretDisabled",
      );
    }
    return ok(this.#bundle(name, found));
  }

  #set(name: string, { value, attributes = {}, ...rest }: Body): Instead {
    if (typeof value !== "string") {
      return refusal(400, "BadParameter", "Property value is required");
    }
    if (value.length > MAX_VALUE_LENGTH) {
      return refusal(400, "BadParameter", "The property value has invalid value, it is too long");
    }
    if (this.#deleted.has(keyOf(name))) {
      return refusal(
        409,
        "Conflict",
        `Secret ${name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.`,
        "ObjectIsDeletedButRecoverable",
      );
    }
    this.beforeSet(name);
    const id = this.add(name, { ...rest, ...attributes, value });
    return ok(this.#bundle(name, this.#versionsOf(name).find((version) => version.id === id) as Version));
  }

  /** «Attributes that are not specified in the request are left unchanged.» */
  #update(name: string, id: string, { attributes = {}, ...rest }: Body): Instead {
    const versions = this.#versionsOf(name);
    const old = versions.find((version) => version.id === id);
    if (!old) return notFound(`A secret with (name/id) ${name}/${id} was not found in this key vault.`);
    const updated = {
      ...old,
      ...rest,
      ...attributes,
      value: old.value,
      updated: Math.floor(Date.now() / 1000),
    };
    this.#secrets.set(
      keyOf(name),
      versions.map((version) => (version.id === id ? updated : version)),
    );
    const { value: _value, ...shown } = this.#bundle(name, updated);
    return ok(shown);
  }

  #delete(name: string): Instead {
    const versions = this.#versionsOf(name);
    const last = versions.at(-1);
    if (!last) return notFound(`Secret not found: ${name}`);
    this.#secrets.delete(keyOf(name));
    this.#deleted.set(keyOf(name), { versions, at: Math.floor(Date.now() / 1000) });
    return ok(this.#deletedBundle(name));
  }

  #deletedSecret(method: string, name: string, action: string): Instead {
    const deleted = this.#deleted.get(keyOf(name));
    if (!deleted) return notFound(`Deleted Secret not found: ${name}`);
    if (method === "GET") return ok(this.#deletedBundle(name));
    this.#deleted.delete(keyOf(name));
    if (method === "DELETE") return { status: 204 };
    if (action !== "recover") return refusal(405, "MethodNotAllowed", "The HTTP method is not allowed");
    this.#secrets.set(keyOf(name), [...deleted.versions]);
    return ok(this.#bundle(name, deleted.versions.at(-1) as Version));
  }

  #listOfSecrets(): readonly object[] {
    return [...this.#secrets].flatMap(([name, versions]) => {
      const last = versions.at(-1);
      if (!last) return [];
      const { value: _value, ...item } = this.#bundle(name, last);
      return [{ ...item, id: `${this.url}/secrets/${name}` }];
    });
  }

  #listOfVersions(name: string): readonly object[] {
    return this.#versionsOf(name).map((version) => {
      const { value: _value, ...item } = this.#bundle(name, version);
      return item;
    });
  }

  #page(url: URL, items: readonly object[]): Instead {
    const from = Number(url.searchParams.get("$skiptoken") ?? 0);
    const next = from + PAGE;
    const query = `api-version=${url.searchParams.get("api-version")}&$skiptoken=${next}&maxresults=${PAGE}`;
    const nextLink = next < items.length ? `${this.url}${url.pathname}?${query}` : null;
    return ok({ value: items.slice(from, next), nextLink });
  }

  #bundle(name: string, version: Version) {
    const { id, value, contentType, tags, kid, enabled = true, exp, nbf, created, updated } = version;
    return {
      value,
      id: `${this.url}/secrets/${name}/${id}`,
      attributes: {
        enabled,
        ...(nbf !== undefined && { nbf }),
        ...(exp !== undefined && { exp }),
        created,
        updated,
        recoveryLevel: "Recoverable+Purgeable",
        recoverableDays: 90,
      },
      ...(contentType !== undefined && { contentType }),
      tags: tags ?? {},
      ...(kid !== undefined && { kid, managed: true }),
    };
  }

  #deletedBundle(name: string) {
    const { versions, at } = this.#deleted.get(keyOf(name)) as Deleted;
    const { value: _value, ...bundle } = this.#bundle(name, versions.at(-1) as Version);
    return {
      ...bundle,
      recoveryId: `${this.url}/deletedsecrets/${name}`,
      deletedDate: at,
      scheduledPurgeDate: at + 90 * 24 * 3600,
    };
  }

  #versionsOf(name: string): readonly Version[] {
    return this.#secrets.get(keyOf(name)) ?? [];
  }
}

interface Body {
  readonly value?: unknown;
  readonly attributes?: Partial<Entry>;
  readonly contentType?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

/** A refusal as the service sends it. */
export function refusal(status: number, code: string, message: string, inner?: string): Instead {
  const error = { code, message, ...(inner !== undefined && { innererror: { code: inner } }) };
  return { status, body: JSON.stringify({ error }) };
}

function notFound(message: string): Instead {
  return refusal(404, "SecretNotFound", message);
}

function ok(body: object): Instead {
  return { status: 200, body: JSON.stringify(body) };
}

/** Names differ by more than their case. */
function keyOf(name: string): string {
  return name.toLowerCase();
}

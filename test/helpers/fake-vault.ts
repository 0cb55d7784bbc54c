/**
 * A Vault of the test's own on loopback, for what has to run with Node alone: KV in both versions, an engine that gives
 * leases, logins, wrapped secret-ids, tokens that end. It answers as the real server was seen to answer (the same
 * suites run against that one in test/backends/); a test can put another answer in front of it.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { FakeKv2 } from "./fake-vault-kv2.ts";
import type { PrivateCa } from "./private-ca.ts";

export interface FakeRequest {
  readonly method: string;
  /** Behind `/v1/`, decoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly token: string | undefined;
  readonly namespace: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface FakeAnswer {
  readonly status: number;
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface FakeToken {
  readonly ttl: number;
  readonly renewable: boolean;
  /** Paths that it may not use; undefined for a root token. */
  readonly denied: readonly string[];
}

export interface FakeLease {
  readonly id: string;
  readonly token: string;
  renewals: number;
}

const NOT_FOUND: FakeAnswer = { status: 404, body: { errors: [] } };
const DENIED: FakeAnswer = { status: 403, body: { errors: ["permission denied"] } };
const DONE: FakeAnswer = { status: 204 };

export class FakeVault {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #isTls: boolean;
  readonly tokens = new Map<string, FakeToken>([["canary-root", { ttl: 0, renewable: false, denied: [] }]]);
  readonly leases = new Map<string, FakeLease>();
  /** KV version 2 at `secret/`. */
  readonly kv2 = new FakeKv2();
  /** KV version 1 at `kv1/`. */
  readonly kv1 = new Map<string, Readonly<Record<string, unknown>>>();
  /** Wrapping tokens: where they were made, and what is in them. */
  readonly wrapped = new Map<string, { readonly from: string; readonly secretId: string }>();
  /** What a login gives. */
  readonly login = {
    ttl: 3600,
    renewable: true,
    denied: [] as string[],
    roleId: "role-1",
    secretId: "canary-secret-id",
    password: "canary-password",
    jwt: "canary-jwt",
  };
  readonly lease = { seconds: 3600, renewable: true };
  readonly requests: FakeRequest[] = [];
  /** Looked at first; what it returns is the answer. */
  before: (request: FakeRequest) => FakeAnswer | "never" | undefined = () => undefined;
  /** Waited for before each answer. */
  delay: (request: FakeRequest) => Promise<void> = async () => undefined;
  /** Every connection is cut instead of an answer. */
  cut = false;
  #logins = 0;

  static async start(tls?: PrivateCa): Promise<FakeVault> {
    const vault = new FakeVault(tls);
    await new Promise<void>((resolve) => vault.#server.listen(0, "127.0.0.1", resolve));
    return vault;
  }

  private constructor(tls: PrivateCa | undefined) {
    const take = (request: IncomingMessage, response: ServerResponse) => void this.#take(request, response);
    this.#isTls = tls !== undefined;
    const options = { keepAliveTimeout: 0 };
    this.#server = tls
      ? createTlsServer({ key: tls.key, cert: tls.cert, ...options }, take)
      : createServer(options, take);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#isTls ? "https" : "http"}://127.0.0.1:${port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** `METHOD path` of every request so far, or of those to paths that begin so. */
  asked(prefix = ""): string[] {
    return this.requests
      .filter(({ path }) => path.startsWith(prefix))
      .map(({ method, path }) => `${method} ${path}`);
  }

  async stop(): Promise<void> {
    const stopped = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await stopped;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const url = new URL(request.url ?? "", "http://fake");
    const text = Buffer.concat(pieces).toString();
    const one = (name: string) => request.headers[name] as string | undefined;
    const received: FakeRequest = {
      method: url.searchParams.has("list") ? "LIST" : (request.method ?? ""),
      path: decodeURIComponent(url.pathname.replace(/^\/v1\//, "")),
      query: url.searchParams,
      token: one("x-vault-token"),
      namespace: one("x-vault-namespace"),
      body: text === "" ? {} : JSON.parse(text),
    };
    this.requests.push(received);
    if (this.cut) {
      response.destroy();
      return;
    }
    await this.delay(received);
    const answer = this.before(received) ?? this.answer(received);
    if (answer === "never") return;
    const { status, body, headers } = answer;
    const isText = typeof body === "string";
    response.writeHead(status, { "content-type": isText ? "text/html" : "application/json", ...headers });
    response.end(isText ? body : body && JSON.stringify(body));
  }

  /** What the real server would answer. */
  answer(request: FakeRequest): FakeAnswer {
    const { path, token, body } = request;
    const login = /^auth\/([^/]+)\/login/.exec(path);
    if (login) return this.#logIn(login[1] as string, body);
    if (path.startsWith("sys/wrapping/")) return this.#unwrap(request);
    const known = token === undefined ? undefined : this.tokens.get(token);
    if (token === undefined || !known) return DENIED;
    if (path.startsWith("auth/token/")) return this.#aboutToken(path, token, known);
    if (known.denied.some((prefix) => path.startsWith(prefix))) return DENIED;
    if (path.startsWith("sys/internal/ui/mounts/"))
      return mountOf(path.slice("sys/internal/ui/mounts/".length));
    if (path.startsWith("sys/leases/")) return this.#aboutLease(path, body);
    if (path.startsWith("secret/")) return this.kv2.answer(request, path.slice("secret/".length));
    if (`${path}/`.startsWith("kv1/")) return this.#kv1(request, path.slice("kv1/".length));
    if (path.startsWith("database/creds/")) return this.#makeAccount(path, token);
    if (path.startsWith("cubbyhole/")) return success({ note: "canary-note" });
    return { status: 404, body: { errors: [`no handler for route "${path}". route entry not found.`] } };
  }

  #logIn(mount: string, body: FakeRequest["body"]): FakeAnswer {
    const { login } = this;
    const isRight = {
      approle: body.role_id === login.roleId && body.secret_id === login.secretId,
      userpass: body.password === login.password,
      jwt: body.jwt === login.jwt,
      kubernetes: body.jwt === login.jwt,
    }[mount];
    if (isRight === undefined) {
      return {
        status: 404,
        body: { errors: [`no handler for route "auth/${mount}/login". route entry not found.`] },
      };
    }
    if (!isRight) return { status: 400, body: { errors: ["invalid role or secret ID"] } };
    this.#logins++;
    const token = `canary-login-${this.#logins}`;
    const { ttl, renewable, denied } = login;
    this.tokens.set(token, { ttl, renewable, denied });
    return { status: 200, body: { auth: { client_token: token, lease_duration: ttl, renewable } } };
  }

  #unwrap({ path, token, body }: FakeRequest): FakeAnswer {
    const invalid = { status: 400, body: { errors: ["wrapping token is not valid or does not exist"] } };
    const key = String(path.endsWith("lookup") ? body.token : token);
    const found = this.wrapped.get(key);
    if (!found) return invalid;
    if (path.endsWith("lookup")) return success({ creation_path: found.from });
    this.wrapped.delete(key);
    return success({ secret_id: found.secretId });
  }

  #aboutToken(path: string, token: string, { ttl, renewable }: FakeToken): FakeAnswer {
    if (path.endsWith("lookup-self")) return success({ ttl, renewable });
    if (path.endsWith("renew-self")) {
      return { status: 200, body: { auth: { client_token: token, lease_duration: ttl, renewable } } };
    }
    this.tokens.delete(token);
    for (const lease of this.leases.values()) if (lease.token === token) this.leases.delete(lease.id);
    return DONE;
  }

  #makeAccount(path: string, token: string): FakeAnswer {
    if (path.endsWith("/absent")) return { status: 400, body: { errors: ["unknown role: absent"] } };
    const id = `${path}/${randomUUID()}`;
    this.leases.set(id, { id, token, renewals: 0 });
    const { seconds, renewable } = this.lease;
    return {
      status: 200,
      body: {
        lease_id: id,
        lease_duration: seconds,
        renewable,
        data: { username: `v-${this.leases.size}`, password: `canary-${id}` },
      },
    };
  }

  #aboutLease(path: string, body: FakeRequest["body"]): FakeAnswer {
    const lease = this.leases.get(String(body.lease_id));
    if (path.endsWith("revoke")) {
      if (lease) this.leases.delete(lease.id);
      return DONE;
    }
    if (!lease) return { status: 400, body: { errors: ["lease not found"] } };
    lease.renewals++;
    const { seconds, renewable } = this.lease;
    return { status: 200, body: { lease_id: lease.id, lease_duration: seconds, renewable } };
  }

  #kv1({ method, body }: FakeRequest, name: string): FakeAnswer {
    if (method === "LIST") return listing([...this.kv1.keys()], name);
    if (method === "POST") {
      this.kv1.set(name, body);
      return DONE;
    }
    if (method === "DELETE") {
      this.kv1.delete(name);
      return DONE;
    }
    const data = this.kv1.get(name);
    return data ? success(data) : NOT_FOUND;
  }
}

function mountOf(path: string): FakeAnswer {
  const MOUNTS = [
    { path: "secret/", type: "kv", options: { version: "2" } },
    { path: "kv1/", type: "kv", options: {} },
    { path: "database/", type: "database", options: null },
    { path: "cubbyhole/", type: "cubbyhole", options: null },
  ];
  const mount = MOUNTS.find((one) => `${path}/`.startsWith(one.path));
  if (mount) return success(mount);
  const error = `preflight capability check returned 403, please ensure client's policies grant access to path "${path}/"`;
  return { status: 403, body: { errors: [error] } };
}

export function success(data: object): FakeAnswer {
  return { status: 200, body: { lease_id: "", lease_duration: 0, renewable: false, data } };
}

/** The names below a folder, as LIST gives them. */
export function listing(paths: readonly string[], folder: string): FakeAnswer {
  const prefix = folder === "" || folder.endsWith("/") ? folder : `${folder}/`;
  const names = paths
    .filter((path) => path.startsWith(prefix))
    .map((path) => path.slice(prefix.length).replace(/\/.*/, "/"));
  return names.length > 0 ? success({ keys: [...new Set(names)].sort() }) : NOT_FOUND;
}

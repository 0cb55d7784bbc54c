/**
 * A server on loopback that behaves as badly as the test says: it is silent, dies half-way, drips, never ends,
 * redirects, answers anything. It remembers every request, and how many connections are open now. It never closes
 * a connection of its own accord, so whoever connects has to do so; `stop` ends all that is left.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { PrivateCa } from "./private-ca.ts";
import { freePort } from "./server-process.ts";

export interface Received {
  readonly method: string;
  /** With its query, as it came. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Ms on a clock that never goes back: when it had come whole. */
  readonly at: number;
}

export interface Answer {
  /** 200 without it. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What becomes of one request. */
export type Behaviour = (response: ServerResponse) => void;

/** Takes the request and says nothing, for ever. */
export const silent: Behaviour = () => undefined;

export function answers({ status = 200, headers = {}, body = "" }: Answer): Behaviour {
  return (response) =>
    void response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
}

/** An answer of JSON. */
export function json(value: unknown, status = 200): Answer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

/** The headers and half of the body; then the connection is cut. */
export function diesHalfWay({ status = 200, headers = {}, body = "" }: Answer): Behaviour {
  return (response) => {
    response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) + 1 });
    response.write(body.slice(0, body.length / 2), () => response.destroy());
  };
}

/** One byte of the body after the other. */
export function drips({ status = 200, headers = {}, body = "" }: Answer, everyMs: number): Behaviour {
  return (response) => {
    const bytes = Buffer.from(body);
    response.writeHead(status, { ...headers, "content-length": bytes.length });
    let sent = 0;
    const timer = setInterval(() => {
      if (sent < bytes.length) response.write(bytes.subarray(sent, ++sent));
      else response.end();
    }, everyMs);
    response.once("close", () => clearInterval(timer));
  };
}

/** Far more than a client may read of an answer, and little enough that one without a bound harms nobody. */
export const ENDLESS_BYTES = 96 * 1_048_576;

/** The body, and then the letter x for as long as anybody listens; after ENDLESS_BYTES, silence. */
export function endless({ status = 200, headers = {}, body = "" }: Answer): Behaviour {
  const piece = "x".repeat(65_536);
  return (response) => {
    response.writeHead(status, headers);
    response.write(body);
    let left = ENDLESS_BYTES;
    const pour = () => {
      for (let more = true; more && left > 0 && !response.destroyed; left -= piece.length) {
        more = response.write(piece);
      }
    };
    response.on("drain", pour);
    pour();
  };
}

/** 307 keeps method and body, so it would take a credential along. */
export function redirects(to: string, status = 307): Behaviour {
  return answers({ status, headers: { location: to } });
}

export interface HostileServerOptions {
  /** Speaks https with this certificate. */
  readonly tls?: PrivateCa;
  /** What becomes of each request; `earlier` are those that came before it. */
  readonly behave: (request: Received, earlier: readonly Received[]) => Behaviour;
}

export class HostileServer {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #everUsed = new Set<Socket>();
  readonly #tls: boolean;
  readonly requests: Received[] = [];
  /** May be exchanged between two requests. */
  behave: HostileServerOptions["behave"];

  static async start(options: HostileServerOptions): Promise<HostileServer> {
    const server = new HostileServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", reject);
      server.#server.listen(0, "127.0.0.1", resolve);
    });
    return server;
  }

  private constructor({ tls, behave }: HostileServerOptions) {
    this.behave = behave;
    this.#tls = tls !== undefined;
    const take = (request: IncomingMessage, response: ServerResponse) => void this.#take(request, response);
    this.#server = tls ? createTlsServer({ key: tls.key, cert: tls.cert }, take) : createServer(take);
    this.#server.keepAliveTimeout = 0; // no end of it
    this.#server.on("connection", (socket: Socket) => {
      this.#open.add(socket);
      socket.once("close", () => this.#open.delete(socket));
      socket.on("error", () => socket.destroy());
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Without a slash at its end. */
  get url(): string {
    return `${this.#tls ? "https" : "http"}://127.0.0.1:${this.port}`;
  }

  /** How many are open at this moment. */
  get connections(): number {
    return this.#open.size;
  }

  /** What has been written to all who ever asked for anything. */
  get bytesWritten(): number {
    return [...this.#everUsed].reduce((sum, socket) => sum + socket.bytesWritten, 0);
  }

  /** Cuts every connection. May be called twice. */
  async stop(): Promise<void> {
    const closed = [...this.#open].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    const stopped = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#open) socket.destroy();
    await Promise.all([stopped, ...closed]);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#everUsed.add(request.socket);
    response.on("error", () => response.destroy());
    const pieces: Buffer[] = [];
    try {
      for await (const piece of request) pieces.push(piece);
    } catch {
      return; // the client has gone before its request was whole
    }
    const received: Received = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
      body: Buffer.concat(pieces).toString(),
      at: performance.now(),
    };
    const earlier = [...this.requests];
    this.requests.push(received);
    this.behave(received, earlier)(response);
  }
}

/** An address at which nobody listens. */
export async function refusingUrl(scheme: "http" | "https"): Promise<string> {
  return `${scheme}://127.0.0.1:${await freePort()}`;
}

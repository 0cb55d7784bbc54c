/**
 * Stands on loopback between mcp-run and a backend, and passes on whatever is said. Tells what was asked, and can be
 * shut as if the backend had gone: then nobody listens at its port.
 */
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import { freePort } from "./server-process.ts";

export interface Passed {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
}

export class Gateway {
  /** What was asked and answered, the oldest first. */
  readonly passed: Passed[] = [];
  /** Runs before a request is passed on. */
  onRequest: (method: string, path: string) => void = () => undefined;
  #target: string;
  readonly #port: number;
  #server: Server | undefined;

  static async to(target: string): Promise<Gateway> {
    const gateway = new Gateway(target, await freePort());
    await gateway.open();
    return gateway;
  }

  private constructor(target: string, port: number) {
    this.#target = target;
    this.#port = port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How many requests whose path contains this, with this status if one is given, have been answered. */
  count(part: string, status?: number): number {
    return this.passed.filter(
      (one) => one.path.includes(part) && (status === undefined || one.status === status),
    ).length;
  }

  /** Lets requests through, to another backend if one is given. */
  async open(target = this.#target): Promise<void> {
    this.#target = target;
    // It hangs up on nobody by itself: on a busy machine it would be on somebody who asks at that moment.
    const server = createServer({ keepAliveTimeout: 0 }, (incoming, outgoing) => {
      const { method = "", url = "/", headers } = incoming;
      const path = new URL(url, this.url).pathname;
      this.onRequest(method, path);
      const onward = request(new URL(url, this.#target), { method, headers, agent: false }, (answer) => {
        const status = answer.statusCode ?? 0;
        outgoing.writeHead(status, answer.headers);
        answer.pipe(outgoing);
        answer.once("end", () => this.passed.push({ method, path, status }));
      });
      onward.once("error", () => outgoing.destroy());
      incoming.pipe(onward);
    });
    this.#server = server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
  }

  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

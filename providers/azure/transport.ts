/**
 * How the SDK's requests reach the network: TLS verified whatever the environment says, no redirects, answers
 * bounded in size and time, nothing compressed, and only to the host that they are meant for (a page's
 * `nextLink` comes from the server, and our token would go wherever it points). An answer is read whole before
 * the SDK sees it, so that a connection that dies half-way is an error and no wait for ever.
 */
import http from "node:http";
import https from "node:https";
import type { SecretClientOptions } from "@azure/keyvault-secrets";
import type { Clock } from "../../src/clock.ts";
import { AzureError } from "./azure-error.ts";
import { connectionFailure, noAnswer, proxyWantsLogin, redirected } from "./connection-failure.ts";
import { Headers } from "./headers.ts";
import { isExcepted, type ProxySettings } from "./proxy.ts";

export type HttpClient = NonNullable<SecretClientOptions["httpClient"]>;
export type HttpRequest = Parameters<HttpClient["sendRequest"]>[0];
export type HttpResponse = Awaited<ReturnType<HttpClient["sendRequest"]>>;

/** 25 KB a value, 25 entries a page: an honest answer is far below. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;

/** What all that we ask for is asked through. */
export interface Network {
  readonly clock: Clock;
  /** PEM; undefined for the usual authorities. */
  readonly ca: string | undefined;
  readonly proxy: ProxySettings | undefined;
}

export interface TransportOptions extends Network {
  /** Connections at the same time. */
  readonly maxSockets: number;
  /** Ms until a request is given up. */
  readonly timeoutMs: number;
  /** Throws ProviderError for an address that must not be asked. */
  mayAsk(url: URL): void;
  /** Looks at each answer that is no redirect before the SDK does; throws ProviderError for one that is unfit. */
  look(response: HttpResponse, url: URL): void;
}

export class Transport implements HttpClient {
  readonly #options: TransportOptions;
  /** The SDK is given it too, so that it makes none of its own for a proxy: that one would print the proxy's password. */
  readonly agent: https.Agent;
  #tunnel: Promise<http.Agent> | undefined;
  readonly #closed = new AbortController();

  constructor(options: TransportOptions) {
    this.#options = options;
    this.agent = new https.Agent({ keepAlive: true, maxSockets: options.maxSockets });
  }

  /** Throws ProviderError for what went wrong on the way, or the reason of an aborted request. */
  async sendRequest(request: HttpRequest): Promise<HttpResponse> {
    const url = new URL(request.url);
    this.#options.mayAsk(url);
    const ms = this.#options.timeoutMs;
    const late = new AbortController();
    const timer = this.#options.clock.after(ms, () => late.abort(noAnswer(url.host, ms)), {
      background: true,
    });
    const signals = [late.signal, this.#closed.signal];
    // Declared as the SDK's own type, but what we hand it is Node's.
    if (request.abortSignal) signals.push(request.abortSignal as AbortSignal);
    try {
      const response = await this.#exchange(
        url,
        request,
        await this.#agentFor(url),
        AbortSignal.any(signals),
      );
      if (response.status === 407) throw proxyWantsLogin();
      if (response.status >= 300 && response.status < 400) throw redirected(url.host, response.status);
      this.#options.look(response, url);
      return response;
    } finally {
      timer.cancel();
    }
  }

  /** Ends what is under way; every later request fails. */
  close(): void {
    this.#closed.abort(new AzureError("unavailable", "the provider was closed"));
    this.agent.destroy();
    // One that could not be made was told to whoever wanted to ask through it.
    this.#tunnel?.then(
      (agent) => agent.destroy(),
      () => undefined,
    );
  }

  /** Undefined for plain http, which is for addresses next to us. */
  async #agentFor(url: URL): Promise<http.Agent | undefined> {
    const { proxy, maxSockets } = this.#options;
    if (url.protocol === "http:") return undefined;
    if (!proxy || isExcepted(url, proxy)) return this.agent;
    this.#tunnel ??= import("./tunnel.ts").then(({ tunnelAgent }) => tunnelAgent(proxy, maxSockets));
    return this.#tunnel;
  }

  #exchange(
    url: URL,
    request: HttpRequest,
    agent: http.Agent | undefined,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { ca } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const body = textOf(request);
      const outgoing = (url.protocol === "http:" ? http : https).request(url, {
        method: request.method,
        agent,
        rejectUnauthorized: true,
        ...(ca !== undefined && { ca }),
      });
      // Not as an option: with NODE_DEBUG=http Node prints the options of a connection, and the token with them.
      for (const [name, value] of Object.entries(headersOf(request, body))) outgoing.setHeader(name, value);
      const stop = () => outgoing.destroy();
      const letGo = () => signal.removeEventListener("abort", stop);
      const fail = (error: unknown) => {
        letGo();
        reject(signal.aborted ? signal.reason : connectionFailure(error, url.host));
      };
      signal.addEventListener("abort", stop, { once: true });
      outgoing.on("error", fail);
      outgoing.once("response", (incoming) => {
        read(incoming, url.host).then(
          (bodyAsText) => {
            letGo();
            const headers = new Headers(incoming.headers);
            resolve({ request, status: incoming.statusCode ?? 0, headers, bodyAsText });
          },
          (error: unknown) => {
            fail(error);
            outgoing.destroy();
          },
        );
      });
      outgoing.end(body);
    });
  }
}

function textOf({ body }: HttpRequest): string {
  if (body === undefined || body === null) return "";
  if (typeof body === "string") return body;
  throw new Error("the SDK sends something other than text");
}

function headersOf(request: HttpRequest, body: string): Record<string, string | number> {
  const named = Object.entries(request.headers.toJSON({ preserveCase: true }));
  return {
    ...Object.fromEntries(named.filter(([name]) => !/^(accept-encoding|content-length)$/i.test(name))),
    "Content-Length": Buffer.byteLength(body),
  };
}

async function read(incoming: http.IncomingMessage, host: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new AzureError("unavailable", `${host} answered with more than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

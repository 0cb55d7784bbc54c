/**
 * How requests leave the machine: TLS always verified, plain http to loopback only, through the proxy of the
 * environment, with time limits that really end a request and a bound on what is read of an answer. The clients
 * of one provider (Secrets Manager, and STS or IAM Identity Center for its credential) share the sockets.
 */
import { readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { isLoopback } from "../../src/loopback.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { TooMuch } from "./failure.ts";

const CONNECT_MS = 3_000;
/** Of one attempt, its answer read; what `Session` allows. */
export const ATTEMPT_MS = 5_000;
const SOCKETS = 20;
/** A batch has at most 1 MB of values; as JSON that can be six times as much. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** In the form of the SDK's NodeHttpHandlerOptions. */
export interface Transport {
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
  readonly throwOnRequestTimeout: true;
  readonly httpAgent: http.Agent;
  readonly httpsAgent: https.Agent;
}

/** Throws ProviderError where the certificate file can't be read. */
export async function openTransport(
  caCert: string | undefined,
  context: ProviderContext,
): Promise<Transport & { close(): void }> {
  const env = context.env.all();
  // Spelled out, since NODE_TLS_REJECT_UNAUTHORIZED would change the default.
  const options: https.AgentOptions = { keepAlive: true, maxSockets: SOCKETS, rejectUnauthorized: true };
  const bundle = caCert ?? (env.AWS_CA_BUNDLE || undefined);
  if (bundle !== undefined) options.ca = await readBundle(bundle, context);
  const proxy = env.HTTPS_PROXY || env.https_proxy;
  const httpsAgent = proxy
    ? (await import("./proxy.ts")).proxyAgent(proxy, env.NO_PROXY ?? env.no_proxy ?? "", options)
    : new https.Agent(options);
  const httpAgent = new LoopbackAgent({ keepAlive: true, maxSockets: SOCKETS });
  let isClosed = false;
  for (const agent of [httpAgent, httpsAgent]) {
    hideHeaders(agent);
    refuseWhen(() => isClosed, agent);
  }
  return {
    connectionTimeout: CONNECT_MS,
    requestTimeout: ATTEMPT_MS,
    throwOnRequestTimeout: true,
    httpAgent,
    httpsAgent,
    close() {
      // A request that is torn away now would otherwise be sent again by the SDK, and keep the process alive.
      isClosed = true;
      httpAgent.destroy();
      httpsAgent.destroy();
    },
  };
}

/** Wherever an address came from (a shared file may name one too): nothing leaves this machine unencrypted. */
class LoopbackAgent extends http.Agent {
  override createConnection(...args: Parameters<http.Agent["createConnection"]>) {
    const { host } = args[0];
    if (typeof host === "string" && isLoopback(host)) return super.createConnection(...args);
    throw new ProviderError("invalid", "its endpoint is http://, which is for this machine only", {
      hint: "an https:// endpoint in the settings, in AWS_ENDPOINT_URL or in ~/.aws/config",
    });
  }
}

/** What every agent has, although it is documented nowhere: the way in for a request. */
interface RequestTaker {
  addRequest(request: http.ClientRequest, options: object): void;
}

/** With NODE_DEBUG=http Node prints the options of each connection, and the headers in them hold a session token. */
function hideHeaders(agent: http.Agent): void {
  const taker = agent as unknown as RequestTaker;
  const { addRequest } = taker;
  taker.addRequest = (request, options) =>
    addRequest.call(agent, request, { ...options, headers: undefined });
}

/** An agent that was destroyed opens new connections all the same. */
function refuseWhen(isClosed: () => boolean, agent: http.Agent): void {
  const taker = agent as unknown as RequestTaker;
  const { addRequest } = taker;
  taker.addRequest = (request, options) => {
    if (isClosed()) request.destroy(new ProviderError("unavailable", "the provider was closed"));
    else addRequest.call(agent, request, options);
  };
}

async function readBundle(file: string, { env, platform }: ProviderContext): Promise<string> {
  const { HOME, USERPROFILE } = env.all();
  const home = platform === "win32" ? USERPROFILE : HOME;
  const path = /^~[/\\]/.test(file) && home ? join(home, file.slice(2)) : file;
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new ProviderError("invalid", `can't read the certificates in ${path} (${systemErrorCode(error)})`, {
      hint: "a PEM file as caCert or AWS_CA_BUNDLE",
    });
  }
}

/** The SDK's `streamCollector`, with an end. */
export async function collectBounded(stream: Readable): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_ANSWER_BYTES) throw new TooMuch("the answer is too large");
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

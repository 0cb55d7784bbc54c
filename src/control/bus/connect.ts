/**
 * One connection to one server of the bus, or why there is none. TLS is verified against the very host that was asked
 * for; without TLS only this machine is reached. A connection is never mended: whoever needs one for long makes a new
 * one (link.ts).
 */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { connect, type NatsConnection, type TlsOptions } from "@nats-io/transport-node";
import { type Clock, untilAborted, withDeadline } from "../../clock.ts";
import { McpRunError } from "../../errors.ts";
import { isLoopback } from "../../loopback.ts";
import type { Secret } from "../../secrets/secret.ts";
import { authenticatorOf } from "./credentials.ts";
import { type Failure, failureOf, tooSlow } from "./failure.ts";

export interface BusOptions {
  /** `tls://nats.example.com:4222`; `nats://` for this machine. */
  readonly servers: readonly string[];
  readonly credentials: Secret | undefined;
  /** PEM: who signs the servers' certificates; without it the system's authorities. */
  readonly ca?: string;
  /** The name of this machine. */
  readonly host: string;
  readonly clock: Clock;
}

export interface Server {
  /** Without brackets. */
  readonly hostname: string;
  /** `host:port` */
  readonly address: string;
  readonly isEncrypted: boolean;
}

/** Ms for the way from a socket to being let in. */
export const CONNECT_MS = 5_000;
/** Ms that the name of a server may take to be resolved, besides. */
const RESOLVE_MS = 3_000;
/** Ms between two signs of life, of which two may fail to come. */
const PING_MS = 20_000;
const DEFAULT_PORT = 4222;

/** Throws McpRunError `profile-invalid` for an address that can't be used, naming it. */
export function readServers(servers: readonly string[]): readonly Server[] {
  if (servers.length === 0) throw unusable("«nothing»", "there is none", "tls://HOST:4222");
  return servers.map(readServer);
}

function readServer(text: string): Server {
  const parsed = /^(nats|tls):\/\/([^\s/?#@]+)\/?$/i.exec(text);
  const scheme = parsed?.[1]?.toLowerCase();
  const url = parsed && URL.canParse(`http://${parsed[2]}`) ? new URL(`http://${parsed[2]}`) : undefined;
  if (!url || url.hostname === "")
    throw unusable(text, "it is no address of a NATS server", "tls://HOST:4222, without a user or a path");
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  // The port of http is the one that URL leaves out.
  const port = url.port || (/:80\/?$/.test(text) ? 80 : DEFAULT_PORT);
  const isEncrypted = scheme === "tls" || !isLoopback(hostname);
  return { hostname, address: `${url.hostname}:${port}`, isEncrypted };
}

function unusable(server: string, state: string, hint: string): McpRunError {
  const shown = server.replace(/^(\w+:\/\/)?.*@/s, (_, scheme = "") => `${scheme}…@`);
  return new McpRunError("profile-invalid", `Cannot use the server ${shown} of the fleet: ${state}`, {
    hint,
  });
}

/**
 * Connects, within 8 s or until that is no longer wanted. The connection does not come back by itself when it is lost.
 *
 * @param inbox prefix of the subjects on which answers come
 * @returns why not, where that is so; throws McpRunError `secret-invalid` for credentials of no known form
 */
export async function dial(
  server: Server,
  options: BusOptions,
  inbox: string,
  signal: AbortSignal,
): Promise<{ readonly connection: NatsConnection } | { readonly failure: Failure }> {
  const { clock, credentials, host } = options;
  const connecting = connect({
    servers: [server.address],
    name: `mcp-run ${host}`.slice(0, 200),
    ...(credentials && { authenticator: authenticatorOf(credentials) }),
    ...(server.isEncrypted || options.ca ? { tls: tlsOf(server, options.ca) } : {}),
    inboxPrefix: inbox,
    timeout: CONNECT_MS,
    reconnect: false,
    // Servers that others name have not been chosen by the operator, and are known by their number only.
    ignoreClusterUpdates: true,
    pingInterval: PING_MS,
    noAsyncTraces: true,
  });
  try {
    const wanted = untilAborted(signal, connecting);
    const connection = await withDeadline(clock, CONNECT_MS + RESOLVE_MS, wanted, tooSlow);
    return { connection };
  } catch (error) {
    // One that comes too late is nobody's.
    connecting.then((late) => late.close()).catch(() => undefined);
    return { failure: failureOf(error, server.address) };
  }
}

/** The library checks a server that is known by its number against the name `localhost`. */
function tlsOf({ hostname }: Server, ca: string | undefined): TlsOptions {
  const tls = {
    ...(ca !== undefined && { ca }),
    rejectUnauthorized: true,
    checkServerIdentity: (_name: string, certificate: PeerCertificate) =>
      checkServerIdentity(hostname, certificate),
  };
  return tls;
}

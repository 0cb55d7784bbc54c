/**
 * node-vault, of which only read, list, write and delete are used, made safe: its requests go through our own
 * connection instead of its HTTP library, each call has fresh headers, and it sees neither the environment's token nor
 * a debug logger (it would print secrets under DEBUG=*).
 */
import type { Clock } from "../../src/clock.ts";
import { untilAborted } from "../../src/clock.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import type { Address } from "./address.ts";
import { Connection, type Outcome } from "./exchange.ts";
import { retried } from "./retry.ts";

export interface VaultRequest {
  readonly does: "read" | "list" | "write" | "delete";
  /** Without `/v1/`, made by apiPath. */
  readonly path: string;
  readonly query?: string;
  readonly body?: object;
  /** True for what may be sent again after no answer or a failure: it leaves nothing behind. */
  readonly isRepeatable?: boolean;
}

export class VaultClient {
  readonly #address: Address;
  readonly #clock: Clock;
  readonly #connection: Connection;
  #library: Promise<Library> | undefined;

  constructor(address: Address, clock: Clock) {
    this.#address = address;
    this.#clock = clock;
    this.#connection = new Connection(address.url.startsWith("https:"), address.ca, clock);
  }

  get url(): string {
    return this.#address.url;
  }

  /** Rejects only with the signal's reason when that is aborted. */
  async send(request: VaultRequest, token: Secret | undefined, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted();
    this.#library ??= loadLibrary(this.#address.url, this.#connection);
    const library = await untilAborted(signal, this.#library);
    const once = () => call(library, request, { headers: this.#headers(token), signal });
    return retried(once, request.isRepeatable ?? false, this.#clock, signal);
  }

  close(): void {
    this.#connection.close();
  }

  #headers(token: Secret | undefined): Record<string, string> {
    const { namespace } = this.#address;
    return {
      // Proves to a server or proxy that asks for it that no browser or other program was tricked into this request.
      "X-Vault-Request": "true",
      ...(namespace !== undefined && { "X-Vault-Namespace": encodeURI(namespace) }),
      ...(token && { "X-Vault-Token": token.reveal() }),
    };
  }
}

interface CallOptions {
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
}

/** The part of node-vault that is used; its own types say `any`. */
interface Library {
  read(path: string, options: CallOptions): Promise<Outcome>;
  list(path: string, options: CallOptions): Promise<Outcome>;
  delete(path: string, options: CallOptions): Promise<Outcome>;
  write(path: string, data: object, options: CallOptions): Promise<Outcome>;
}

async function loadLibrary(url: string, connection: Connection): Promise<Library> {
  const { default: nodeVault } = await import("node-vault");
  const library = nodeVault({
    endpoint: url,
    debug: () => undefined,
    // GET with ?list=1, which every proxy lets through, for the verb LIST.
    noCustomHTTPVerbs: true,
    "request-promise": { defaults: () => sender(connection) },
  });
  // It has taken these from the environment.
  return Object.assign(library, { token: "", namespace: "", pathPrefix: "" }) as Library;
}

/**
 * What node-vault calls to send. It makes errors of a refusal that hold its body, and takes any text with status 200 for
 * an answer; so it is told 200 each time, with our whole outcome as the body, which it hands through.
 */
function sender(connection: Connection) {
  return async (options: CallOptions & { uri: string; method: string; path: string; json?: object }) => ({
    statusCode: 200,
    request: { path: options.path },
    body: await connection.send(
      {
        method: options.method,
        url: options.uri,
        headers: options.headers,
        ...(options.json && { body: options.json }),
      },
      options.signal,
    ),
  });
}

function call(
  library: Library,
  { does, path, query, body }: VaultRequest,
  options: CallOptions,
): Promise<Outcome> {
  const target = query === undefined ? path : `${path}?${query}`;
  return does === "write" ? library.write(target, body ?? {}, options) : library[does](target, options);
}

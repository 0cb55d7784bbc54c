/**
 * A credential of @azure/identity as a source of tokens. What the login service answers is noted on its way in,
 * since the library packs a refusal into errors of its own that hold the whole answer; those go no further.
 */
import { untilAborted } from "../../../src/clock.ts";
import { ProviderError } from "../../../src/errors.ts";
import { AzureError } from "../azure-error.ts";
import { foreignAnswer } from "../connection-failure.ts";
import { retrying } from "../retry.ts";
import {
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  type Network,
  Transport,
} from "../transport.ts";
import type { Token, TokenRequest, TokenSource } from "./login.ts";
import { type LoginAnswer, loginCode, loginError } from "./login-error.ts";

/** What is used here of a credential of @azure/identity. */
export interface SdkCredential {
  getToken(
    scope: string,
    options: { claims?: string; enableCae?: boolean },
  ): Promise<{ token: string; expiresOnTimestamp: number } | null>;
}

/** What every credential of @azure/identity is given. */
export interface SdkOptions {
  readonly authorityHost?: string;
  readonly disableInstanceDiscovery?: boolean;
  readonly httpClient: HttpClient;
  readonly agent: Transport["agent"];
  readonly retryOptions: { readonly maxRetries: number };
}

export interface EntraOptions extends Network {
  /** What the credential is called in errors. */
  readonly what: string;
  /** A managed identity is asked for over plain http, at an address of the machine's own network. */
  readonly isLocal?: boolean;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 15_000;
const MAX_SOCKETS = 4;
/** Loopback, link-local and private: where platforms put the endpoint of a managed identity. */
const LOCAL_HOST =
  /^(localhost|127(\.\d+){3}|169\.254(\.\d+){2}|10(\.\d+){3}|172\.(1[6-9]|2\d|3[01])(\.\d+){2}|192\.168(\.\d+){2})$/;

/** @param create makes the credential; its library is loaded when the first token is needed */
export function entraSource(
  options: EntraOptions,
  create: (sdk: Omit<SdkOptions, "authorityHost" | "disableInstanceDiscovery">) => Promise<SdkCredential>,
): TokenSource {
  const witness = new Witness(options);
  let credential: Promise<SdkCredential> | undefined;
  const askOnce = async (request: TokenRequest) => {
    if (options.isLocal) theLocalOne.target = witness;
    const httpClient = options.isLocal ? theLocalOne : witness;
    credential ??= create({ httpClient, agent: witness.agent, retryOptions: { maxRetries: 0 } });
    try {
      return await ask(await credential, request, witness, options.what);
    } catch (error) {
      // The library would go on repeating a refusal of this one without asking anybody.
      credential = undefined;
      throw error;
    }
  };
  return {
    token: (request) =>
      retrying(
        options.clock,
        request.signal,
        (error) => error.isTransient,
        () => askOnce(request),
      ),
    close: () => witness.close(),
  };
}

/**
 * The library keeps the network client of the first managed identity for the whole process, so that later ones would
 * ask through a transport that has been closed; so it is given this one, which asks through the latest.
 */
const theLocalOne: HttpClient & { target?: HttpClient } = {
  sendRequest(request) {
    if (!this.target) throw new Error("a managed identity is asked for by nobody");
    return this.target.sendRequest(request);
  },
};

async function ask(
  credential: SdkCredential,
  { scope, claims, signal }: TokenRequest,
  witness: Witness,
  what: string,
): Promise<Token> {
  witness.forget();
  try {
    const answer = await untilAborted(
      signal,
      // The tenant is the credential's own: a token of another would be refused by its login.
      credential.getToken(scope, { enableCae: true, ...(claims !== undefined && { claims }) }),
    );
    if (answer) return { text: answer.token, expiresAt: answer.expiresOnTimestamp };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ProviderError) throw error;
  }
  if (witness.trouble) throw witness.trouble;
  if (witness.refusal) throw loginError(what, witness.refusal);
  throw new AzureError("invalid", `the login by ${what} can't be made from what it was given`, {
    hint: "its entry credential: in the provider's settings",
  });
}

/** Passes requests on, and remembers what became of the last one. */
class Witness implements HttpClient {
  readonly #transport: Transport;
  trouble: ProviderError | undefined;
  refusal: LoginAnswer | undefined;

  constructor({ clock, ca, proxy, isLocal = false, timeoutMs = TIMEOUT_MS }: EntraOptions) {
    this.#transport = new Transport({
      clock,
      ca,
      proxy,
      maxSockets: MAX_SOCKETS,
      timeoutMs,
      mayAsk(url) {
        if (url.protocol === "https:" || (isLocal && LOCAL_HOST.test(url.hostname))) return;
        throw new AzureError("denied", `a login at ${url.origin} would not be encrypted`, {
          hint: "an https address",
        });
      },
      look: (response) => this.#look(response),
    });
  }

  get agent(): Transport["agent"] {
    return this.#transport.agent;
  }

  forget(): void {
    this.trouble = undefined;
    this.refusal = undefined;
  }

  async sendRequest(request: HttpRequest): Promise<HttpResponse> {
    try {
      return await this.#transport.sendRequest(request);
    } catch (error) {
      if (error instanceof ProviderError) this.trouble = error;
      throw error;
    }
  }

  close(): void {
    this.#transport.close();
  }

  #look({ status, bodyAsText, headers, request }: HttpResponse): void {
    if (status >= 400) this.refusal = { status, code: loginCode(bodyAsText ?? "") };
    else if (!isJson(bodyAsText ?? ""))
      throw foreignAnswer(new URL(request.url).host, status, headers.get("content-type"));
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

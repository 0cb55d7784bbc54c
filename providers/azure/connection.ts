/**
 * The way to one vault: the SDK's client, made once, behind our own transport. What the SDK throws goes no
 * further, since its errors hold requests, headers and bodies. The first request is made alone: the SDK asks
 * without a token to be told where to log in, and mixes up what others write meanwhile.
 */
import { SecretClient } from "@azure/keyvault-secrets";
import { type Clock, untilAborted } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { AzureError } from "./azure-error.ts";
import { foreignAnswer } from "./connection-failure.ts";
import type { Login } from "./login/login.ts";
import { noProxyAddress } from "./proxy.ts";
import { refusalError } from "./refusal.ts";
import { retryAfterMs, retrying } from "./retry.ts";
import { type AzureSettings, vaultName } from "./settings.ts";
import { silenceSdk } from "./silence.ts";
import { type HttpResponse, type Network, Transport } from "./transport.ts";

const TIMEOUT_MS = 20_000;
/** Requests at the same time; a vault allows 400 a second. */
export const CONCURRENCY = 16;

/** Is given the signal that its requests have to follow. */
export type Work<T> = (signal: AbortSignal) => Promise<T>;

export class VaultConnection {
  readonly client: SecretClient;
  /** As `az` knows the vault. */
  readonly vault: string;
  /** Of its address, in its one form. */
  readonly origin: string;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #login: Login;
  readonly #host: string;
  #isGreeted = false;
  #greeting: Promise<void> = Promise.resolve();

  constructor(settings: AzureSettings, network: Network, login: Login) {
    silenceSdk();
    this.#clock = network.clock;
    this.#login = login;
    const { host, origin } = new URL(settings.vault);
    this.#host = host;
    this.vault = vaultName(settings.vault);
    this.origin = origin;
    this.#transport = new Transport({
      ...network,
      maxSockets: CONCURRENCY,
      timeoutMs: TIMEOUT_MS,
      mayAsk: (url) => this.#mayAsk(url, origin),
      look: (response, url) => this.#look(response, url),
    });
    try {
      this.client = new SecretClient(settings.vault, login, {
        httpClient: this.#transport,
        agent: this.#transport.agent,
        retryOptions: { maxRetries: 0 },
        disableChallengeResourceVerification: !settings.verifyChallenge,
      });
    } catch {
      // It reads the variables for a proxy by itself, more of them than we do, and throws what they hold.
      throw noProxyAddress();
    }
  }

  /** True as soon as the vault has answered one request that bore a token. */
  get isGreeted(): boolean {
    return this.#isGreeted;
  }

  /** Repeats `work` while it may help. Throws ProviderError, or the signal's reason. */
  read<T>(signal: AbortSignal, work: Work<T>): Promise<T> {
    return this.#repeat(signal, work, (error) => error.isTransient);
  }

  /** Repeats `work` only where the service says that it has not begun. Throws as `read`. */
  write<T>(signal: AbortSignal, work: Work<T>): Promise<T> {
    return this.#repeat(signal, work, (error) => error.statusCode === 429);
  }

  close(): void {
    this.#login.close();
    this.#transport.close();
  }

  #repeat<T>(signal: AbortSignal, work: Work<T>, mayRepeat: (error: AzureError) => boolean): Promise<T> {
    // A signal of its own: many requests that listen to one make Node print a warning.
    const own = AbortSignal.any([signal]);
    return retrying(this.#clock, own, mayRepeat, () => this.#ask(own, () => work(own)));
  }

  async #ask<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await untilAborted(signal, this.#isGreeted ? work() : this.#greet(work));
    } catch (error) {
      signal.throwIfAborted();
      throw this.#errorOf(error);
    }
  }

  async #greet<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#greeting;
    let done = () => {
      // Replaced at once.
    };
    this.#greeting = new Promise<void>((resolve) => {
      done = resolve;
    });
    await before;
    if (this.#isGreeted) done();
    return work().finally(done);
  }

  #mayAsk(url: URL, origin: string): void {
    if (url.origin === origin) return;
    throw new AzureError("denied", `${this.#host} points to another host, which is not asked`, {
      hint: "vault: in the provider's settings",
    });
  }

  #look({ status, headers, bodyAsText, request }: HttpResponse, url: URL): void {
    // The SDK answers this one itself, by a login.
    if (status === 401) return;
    this.#isGreeted ||= request.headers.has("authorization") && status < 500 && status !== 429;
    if (status >= 400) {
      const [, kind, secret, version] = url.pathname.split("/");
      throw refusalError({
        ...this.#refused(status, request.method, bodyAsText ?? "", headers),
        ...(secret && { secret }),
        ...(kind === "secrets" && version && version !== "versions" && { version }),
      });
    }
    if (!isJsonObject(bodyAsText ?? "")) {
      throw foreignAnswer(this.#host, status, headers.get("content-type"));
    }
  }

  /** What the SDK itself throws: a second 401, a challenge that it does not believe, an answer that it can't read. */
  #errorOf(error: unknown): ProviderError {
    if (error instanceof ProviderError) return error;
    const { statusCode, details, response, message } = error as Partial<SdkError>;
    if (statusCode === 401) {
      return refusalError(this.#refused(statusCode, "GET", JSON.stringify(details ?? {}), response?.headers));
    }
    if (/\bchallenge\b/i.test(message ?? "")) {
      return new AzureError("denied", `${this.#host} asks for a login that does not belong to its own host`, {
        hint: "vault: in the provider's settings; for an emulator on this machine verifyChallenge: false",
      });
    }
    return new AzureError("invalid", `what ${this.#host} answered is no answer of Key Vault`, {
      hint: "vault: in the provider's settings",
    });
  }

  #refused(status: number, method: string, body: string, headers: SdkHeaders | undefined) {
    return {
      status,
      method,
      body,
      vault: this.vault,
      requestId: headers?.get("x-ms-request-id"),
      retryAfterMs: retryAfterMs(headers?.get("retry-after"), this.#clock.now()),
    };
  }
}

interface SdkHeaders {
  get(name: string): string | undefined;
}

/** What is read of the SDK's RestError. */
interface SdkError {
  readonly statusCode: number;
  readonly details: unknown;
  readonly response: { readonly headers: SdkHeaders };
  readonly message: string;
}

function isJsonObject(text: string): boolean {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
  } catch {
    return false;
  }
}

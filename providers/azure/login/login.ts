/**
 * The token that the vault is shown. The SDK would renew a token in the background, where a failure is nobody's
 * and ends the process; so every token is shown to it as expired, it asks for each request, and the token is kept
 * here until shortly before it really expires.
 */
import type { Clock } from "../../../src/clock.ts";
import { ProviderError } from "../../../src/errors.ts";

/** Where a token comes from. Throws ProviderError, or the signal's reason. */
export interface TokenSource {
  token(request: TokenRequest): Promise<Token>;
  close(): void;
}

export interface TokenRequest {
  /** `https://vault.azure.net/.default`. */
  readonly scope: string;
  /** The tenant that the vault says it belongs to. */
  readonly tenantId: string | undefined;
  /** What the vault wants to be proven besides, as the SDK passes it on. */
  readonly claims: string | undefined;
  readonly signal: AbortSignal;
}

export interface Token {
  readonly text: string;
  /** Ms since the epoch. */
  readonly expiresAt: number;
}

/** Ms before its end when a token is replaced. */
const MARGIN_MS = 5 * 60_000;

export class Login {
  readonly #source: TokenSource;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();

  constructor(source: TokenSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** The SDK's TokenCredential. */
  async getToken(
    scopes: string | string[],
    options: { abortSignal?: unknown; tenantId?: string; claims?: string } = {},
  ): Promise<{ token: string; expiresOnTimestamp: number }> {
    const request: TokenRequest = {
      scope: String(scopes),
      tenantId: options.tenantId,
      claims: options.claims,
      signal: (options.abortSignal as AbortSignal | undefined) ?? new AbortController().signal,
    };
    return { token: (await this.#tokenFor(request)).text, expiresOnTimestamp: 0 };
  }

  close(): void {
    this.#tokens.clear();
    this.#source.close();
  }

  async #tokenFor(request: TokenRequest): Promise<Token> {
    const key = JSON.stringify([request.scope, request.tenantId]);
    const known = this.#tokens.get(key);
    const now = this.#clock.now();
    if (known && request.claims === undefined && known.expiresAt - MARGIN_MS > now) return known;
    try {
      const token = await this.#source.token(request);
      this.#tokens.set(key, token);
      return token;
    } catch (error) {
      const isOutage = error instanceof ProviderError && error.failure === "unavailable";
      if (known && request.claims === undefined && isOutage && known.expiresAt > now) return known;
      throw error;
    }
  }
}

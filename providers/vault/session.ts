/**
 * Everything that is sent with a token: one lazy login for all, another when the token turns out to be no good, and an
 * end to every token that is ours.
 */
import { untilAborted } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import type { VaultClient, VaultRequest } from "./client.ts";
import type { Credential } from "./credential.ts";
import { type Answer, isRecord } from "./exchange.ts";
import { noAnswerError } from "./failure.ts";
import { grantOf, logIn } from "./login.ts";
import { readTokenFile } from "./places.ts";
import { errorsIn } from "./retry.ts";
import { Token, type TokenTerm } from "./token.ts";
import { unwrapper } from "./unwrap.ts";

export class Session {
  readonly #client: VaultClient;
  readonly #credential: Credential;
  readonly #context: ProviderContext;
  readonly #secretIdOf: ReturnType<typeof unwrapper>;
  readonly #closing = new AbortController();
  /** Aborted: also a login that is under way is given up, whatever becomes of its token. */
  readonly #givenUp = new AbortController();
  readonly #tokens = new Set<Token>();
  readonly #lookedUp = new WeakSet<Token>();
  readonly #beingLookedAt = new Map<Token, Promise<boolean>>();
  #token: Promise<Token> | undefined;
  #replaced: { readonly dead: Token; readonly next: Promise<Token> } | undefined;

  constructor(client: VaultClient, credential: Credential, context: ProviderContext) {
    this.#client = client;
    this.#credential = credential;
    this.#context = context;
    this.#secretIdOf = unwrapper(client);
  }

  get url(): string {
    return this.#client.url;
  }

  /** The server's answer, whatever it is. Throws ProviderError when there is none, or no token to ask with. */
  async send(request: VaultRequest, signal: AbortSignal): Promise<Answer> {
    return (await this.sendAs(request, signal)).answer;
  }

  /** Like send, and says with which token: a lease hangs on it. */
  async sendAs(request: VaultRequest, signal: AbortSignal): Promise<{ answer: Answer; token: Token }> {
    // Of its own: many requests at once listen, and Node warns of eleven listeners on one signal.
    const own = AbortSignal.any([signal]);
    const token = await untilAborted(own, this.#currentToken());
    const answer = await this.#sendWith(token, request, own);
    if (answer.status !== 403 || isAboutPolicy(answer)) return { answer, token };
    if (await untilAborted(own, this.#isAlive(token))) return { answer, token };
    const next = await untilAborted(own, this.#replace(token));
    return { answer: await this.#sendWith(next, request, own), token: next };
  }

  /** Keeps the token alive until the returned function is called. */
  hold(token: Token): () => void {
    if (!token.isOwn && !this.#lookedUp.has(token)) {
      this.#lookedUp.add(token);
      void this.#lookUp(token);
    }
    return token.hold();
  }

  /**
   * Revokes the tokens that are ours, and with them what hangs on them; those of others only end their renewal. The
   * server makes a token for a login that is under way, whether or not somebody waits for it: so we do.
   */
  async close(signal: AbortSignal): Promise<void> {
    const closed = new ProviderError("unavailable", `${this.#context.name} was closed meanwhile`);
    this.#closing.abort(closed);
    const giveUp = () => this.#givenUp.abort(closed);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    await untilAborted(signal, Promise.allSettled([this.#token])).catch(() => undefined);
    const tokens = [...this.#tokens];
    this.#tokens.clear();
    for (const token of tokens) token.close();
    const revoke = (token: Token) =>
      this.#client.send({ does: "write", path: "auth/token/revoke-self" }, token.secret, signal);
    await Promise.allSettled(tokens.filter(({ isOwn }) => isOwn).map(revoke));
  }

  async #currentToken(): Promise<Token> {
    this.#closing.signal.throwIfAborted();
    const current = this.#token;
    const token = await current;
    if (token && (token.isFresh || !token.isOwn)) return token;
    // Unless somebody else has begun one meanwhile.
    if (this.#token && this.#token !== current) return this.#token;
    return this.#begin(token ? this.#prolonged(token) : this.#firstToken());
  }

  /** Most of a token's time has gone: more of it, or another token, or in need what is left of it. */
  async #prolonged(token: Token): Promise<Token> {
    if (token.isRenewable) token.learn((await this.#renew(token)).term);
    if (token.isFresh && token.endsInMs === Number.POSITIVE_INFINITY) return token;
    try {
      return await this.#firstToken();
    } catch (error) {
      if (error instanceof ProviderError && token.leftMs > 0) return token;
      throw error;
    }
  }

  /** What comes of it is the token from now on; a failure is forgotten, so that the next call tries again. */
  #begin(work: Promise<Token>): Promise<Token> {
    this.#token = work;
    work.catch(() => {
      if (this.#token === work) this.#token = undefined;
    });
    return work;
  }

  async #firstToken(): Promise<Token> {
    const credential = this.#credential;
    if (credential.type === "token") return this.#keep(credential.token, false, UNKNOWN_TERM);
    this.#closing.signal.throwIfAborted();
    const grant = await logIn(credential, this.#secretIdOf, this.#client, this.#givenUp.signal);
    return this.#keep(grant.token, true, grant);
  }

  /** Another token for one that the server does not know any more; tried once, however many have met it. */
  #replace(dead: Token): Promise<Token> {
    if (this.#replaced?.dead !== dead) this.#replaced = { dead, next: this.#begin(this.#nextToken(dead)) };
    return this.#replaced.next;
  }

  async #nextToken(dead: Token): Promise<Token> {
    dead.close();
    this.#tokens.delete(dead);
    if (this.#credential.type === "login") return this.#firstToken();
    const { file, where } = this.#credential;
    const reread = file === undefined ? undefined : await readTokenFile(file);
    if (reread && !reread.equals(dead.secret)) return this.#keep(reread, false, UNKNOWN_TERM);
    throw new ProviderError("denied", `the token in ${where} is not valid at ${this.url} (403)`, {
      hint:
        file === undefined
          ? `a new token in ${where}, or auth: with a method that logs in by itself`
          : "`vault login` for a new one, or auth: with a method that logs in by itself",
    });
  }

  #keep(secret: Secret, isOwn: boolean, term: TokenTerm): Token {
    const token = new Token(secret, isOwn, term, (one) => this.#renewInTime(one), this.#context.clock);
    this.#tokens.add(token);
    return token;
  }

  async #sendWith(token: Token, request: VaultRequest, signal: AbortSignal): Promise<Answer> {
    const outcome = await this.#client.send(request, token.secret, signal);
    if (outcome.type === "no-answer") throw noAnswerError(outcome, this.#client.url);
    return outcome;
  }

  /** A refusal may be about the path or about the token, and every token may look at itself. */
  #isAlive(token: Token): Promise<boolean> {
    const asked =
      this.#beingLookedAt.get(token) ??
      this.#sendWith(token, LOOKUP, this.#closing.signal)
        .then(({ status }) => status !== 403)
        .finally(() => this.#beingLookedAt.delete(token));
    this.#beingLookedAt.set(token, asked);
    return asked;
  }

  /** The term of a token that was given to us, as far as it says. Never rejects. */
  async #lookUp(token: Token): Promise<void> {
    const data = await this.#sendWith(token, LOOKUP, this.#closing.signal).then(
      ({ json }) => json?.data,
      () => undefined,
    );
    if (!isRecord(data) || typeof data.ttl !== "number") return;
    token.learn({ durationMs: data.ttl * 1000, renewable: data.renewable === true });
  }

  /** For leases, and nobody waits for it: a failure is said. Never rejects. */
  async #renewInTime(token: Token): Promise<TokenTerm> {
    const { term, problem } = await this.#renew(token);
    if (problem !== undefined) this.#warn(problem);
    return term;
  }

  /** The token's new term, or what is left of the old one and why. Never rejects. */
  async #renew(token: Token): Promise<{ readonly term: TokenTerm; readonly problem?: string }> {
    // Not 0, which would be for ever.
    const left = (renewable: boolean) => ({ durationMs: Math.max(1, token.leftMs), renewable });
    try {
      const answer = await this.#sendWith(token, RENEWAL, this.#closing.signal);
      if (answer.status === 200) return { term: grantOf(answer, this.url) };
      return { term: left(answer.status >= 500), problem: `refused (${answer.status})` };
    } catch (error) {
      if (this.#closing.signal.aborted) return { term: left(false) };
      if (!(error instanceof ProviderError)) throw error;
      return { term: left(true), problem: error.reason };
    }
  }

  #warn(why: string): void {
    const message = `the login at ${this.#context.name} was not renewed, and secrets with a lease end with it: ${why}`;
    this.#context.emit({ type: "warning", message });
  }
}

/** A refusal that the server gives to a good token. */
function isAboutPolicy({ json }: Answer): boolean {
  return errorsIn(json).some((text) => text.startsWith("preflight capability check"));
}

const UNKNOWN_TERM: TokenTerm = { durationMs: 0, renewable: false };
const LOOKUP: VaultRequest = { does: "read", path: "auth/token/lookup-self", isRepeatable: true };
const RENEWAL: VaultRequest = { does: "write", path: "auth/token/renew-self", isRepeatable: true };

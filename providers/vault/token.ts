/**
 * The token of one login (or one given to us): how long it is good for, kept alive while leases hang on it. A lease ends
 * with the token that it was made with, so as long as somebody holds one, the token is renewed at 2/3 of its time.
 */
import type { Clock, Timer } from "../../src/clock.ts";
import type { Secret } from "../../src/secrets/secret.ts";

/** Near its end a renewal gives only what is left; below this it is not worth another. */
const SHORTEST_RENEWAL_MS = 5_000;

export interface TokenTerm {
  /** Ms from now; 0 for ever, or not known. */
  readonly durationMs: number;
  readonly renewable: boolean;
}

export class Token {
  readonly secret: Secret;
  /** True for a token that we logged in for: ours to revoke. */
  readonly isOwn: boolean;
  readonly #clock: Clock;
  readonly #renew: (token: Token) => Promise<TokenTerm>;
  #term: TokenTerm = { durationMs: 0, renewable: false };
  #grantedAt = 0;
  /** The longest term so far: a renewal that gives less has met the token's last end. */
  #longestMs = 0;
  #holders = 0;
  #timer: Timer | undefined;
  #isClosed = false;

  /** @param renew asks the server for more time; never rejects */
  constructor(
    secret: Secret,
    isOwn: boolean,
    term: TokenTerm,
    renew: (token: Token) => Promise<TokenTerm>,
    clock: Clock,
  ) {
    this.secret = secret;
    this.isOwn = isOwn;
    this.#renew = renew;
    this.#clock = clock;
    this.learn(term);
  }

  /** What the server has said of it just now. */
  learn(term: TokenTerm): void {
    this.#term = term;
    this.#grantedAt = this.#clock.monotonic();
    this.#longestMs = Math.max(this.#longestMs, term.durationMs);
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#schedule();
  }

  /** False when another login is better than this token: 2/3 of its time have gone without a renewal. */
  get isFresh(): boolean {
    return !this.#isLimited || this.leftMs > this.#term.durationMs / 3;
  }

  get isRenewable(): boolean {
    return this.#term.renewable && this.leftMs > 0;
  }

  /** Ms until it ends unless it is renewed; Infinity for ever. */
  get leftMs(): number {
    if (!this.#isLimited) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#term.durationMs - (this.#clock.monotonic() - this.#grantedAt));
  }

  /** Ms until it ends for good, whatever is renewed; Infinity if no end is in sight. */
  get endsInMs(): number {
    const canGrow = this.#term.renewable && this.#term.durationMs > this.#longestMs - 1_000;
    return canGrow ? Number.POSITIVE_INFINITY : this.leftMs;
  }

  /** Somebody needs it alive until the returned function is called. */
  hold(): () => void {
    this.#holders++;
    this.#schedule();
    let isHeld = true;
    return () => {
      if (isHeld) this.#holders--;
      isHeld = false;
      if (this.#holders === 0) this.#stop();
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  get #isLimited(): boolean {
    return this.#term.durationMs > 0;
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #schedule(): void {
    const isUseful = this.#term.renewable && this.#term.durationMs >= SHORTEST_RENEWAL_MS;
    if (this.#timer || !isUseful || this.#isClosed || this.#holders === 0) return;
    const wake = () => {
      this.#timer = undefined;
      void this.#renew(this).then((term) => this.learn(term));
    };
    const waitMs = Math.max(0, this.leftMs - this.#term.durationMs / 3);
    this.#timer = this.#clock.after(waitMs, wake, { background: true });
  }
}

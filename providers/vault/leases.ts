/** The leases that the server has given us: each can be renewed and revoked, and what is left of them ends in `close`. */
import { ProviderError } from "../../src/errors.ts";
import type { Lease, LeaseTerm } from "../../src/secrets/provider.ts";
import { type Answer, isRecord } from "./exchange.ts";
import { refusalError, strangeAnswer } from "./failure.ts";
import { errorsIn } from "./retry.ts";
import type { Session } from "./session.ts";
import type { Token } from "./token.ts";

export class Leases {
  readonly #session: Session;
  readonly #held = new Set<HeldLease>();

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * The lease in an answer, undefined if it has none.
   *
   * @param token what was asked with: the lease ends when it does
   */
  take({ json }: Answer, token: Token): Lease | undefined {
    if (typeof json?.lease_id !== "string" || json.lease_id === "") return undefined;
    const lease = new HeldLease(json.lease_id, json, token, this.#session, () => this.#held.delete(lease));
    this.#held.add(lease);
    return lease;
  }

  /** Revokes those that don't end with a token of our own anyway. Never rejects. */
  async close(signal: AbortSignal): Promise<void> {
    const left = [...this.#held].filter(({ token }) => !token.isOwn);
    await Promise.allSettled(left.map((lease) => lease.revoke(signal)));
  }
}

class HeldLease implements Lease {
  readonly #id: string;
  readonly #session: Session;
  readonly #gone: () => void;
  readonly #release: () => void;
  readonly token: Token;
  #term: LeaseTerm;
  /** Seconds that the engine gives by itself; asked for again at each renewal. */
  readonly #increment: number;

  constructor(id: string, json: Answer["json"], token: Token, session: Session, gone: () => void) {
    this.#id = id;
    this.token = token;
    this.#session = session;
    this.#gone = gone;
    this.#release = session.hold(token);
    this.#term = termIn(json, token);
    this.#increment = typeof json?.lease_duration === "number" ? json.lease_duration : 0;
  }

  id(): string {
    return this.#id;
  }

  get term(): LeaseTerm {
    return this.#term;
  }

  async renew(signal: AbortSignal): Promise<LeaseTerm> {
    const answer = await this.#session.send(
      {
        does: "write",
        path: "sys/leases/renew",
        body: { lease_id: this.#id, increment: this.#increment },
        isRepeatable: true,
      },
      signal,
    );
    if (answer.status === 200) {
      if (typeof answer.json?.lease_duration !== "number") throw strangeAnswer(answer, this.#session.url);
      this.#term = termIn(answer.json, this.token);
      return this.#term;
    }
    if (
      answer.status === 400 &&
      errorsIn(answer.json).some((text) => /lease (not found|expired)/i.test(text))
    ) {
      this.#end();
      throw new ProviderError("missing", "the lease has ended (400)", { hint: "fetching the secret anew" });
    }
    throw this.#refusal(answer, "renew");
  }

  async revoke(signal: AbortSignal): Promise<void> {
    const answer = await this.#session.send(
      {
        does: "write",
        path: "sys/leases/revoke",
        // Otherwise the server only notes that it is to be revoked.
        body: { lease_id: this.#id, sync: true },
        isRepeatable: true,
      },
      signal,
    );
    if (answer.status !== 200 && answer.status !== 204) throw this.#refusal(answer, "revoke");
    this.#end();
  }

  #end(): void {
    this.#release();
    this.#gone();
  }

  #refusal(answer: Answer, does: "renew" | "revoke"): ProviderError {
    return refusalError(answer, { path: `sys/leases/${does}`, capability: "update" }, this.#session.url);
  }
}

/** A lease that outlives its token in words only ends with it. */
function termIn(json: Answer["json"], token: Token): LeaseTerm {
  const seconds = isRecord(json) && typeof json.lease_duration === "number" ? json.lease_duration : 0;
  return {
    durationMs: Math.min(seconds * 1000, token.endsInMs),
    renewable: json?.renewable === true,
  };
}

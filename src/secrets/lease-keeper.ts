/**
 * Keeps a lease alive for as long as a program needs what it lent. It is renewed when two thirds of what is left
 * are over; a renewal that fails for want of an answer is tried again while there is time. A lease that can't be
 * lengthened is reported once, and lives to its end. At the end it is revoked.
 *
 *   waiting --2/3 over--> renewing --longer--> waiting
 *                            |----no answer----> waiting (a short while), reported at 85 %
 *                            +--not lengthened, refused--> reported: ending
 */
import { type Clock, type Timer, untilAborted, withDeadline } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { Lease, LeaseTerm } from "./provider.ts";

const RENEW_AFTER = 2 / 3;
/** When a successor should be fetched; the agents of Vault and OpenBao do the same. */
const REFETCH_AFTER = 0.85;
/** Ms that a backend may take to renew, and to revoke. */
const RENEW_MS = 10_000;
const REVOKE_MS = 5_000;
/** Ms: what a failed renewal waits at most at first, and ever. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** Ms by which a renewal has to move the end; backends count in whole seconds. */
const LEAST_GAIN_MS = 1_000;

/** A lease that will end although its values are still in use. */
export interface LeaseEnding {
  readonly lease: Lease;
  /** The secrets that come from it. */
  readonly names: readonly string[];
  readonly from: string;
  readonly endsAt: Date;
  /** When a successor should be fetched, so that it is in use before the end. */
  readonly refetchAt: Date;
}

export interface LeaseOrigin {
  /** What was asked for, for people: `vault:database/creds/app`. */
  readonly from: string;
  /** The secrets that come from it. */
  readonly names: readonly string[];
  /** Ms by the clock's `now()`: when its term began, at the earliest. */
  readonly since: number;
}

export interface LeaseKeeperOptions {
  readonly clock: Clock;
  readonly emit: Emit;
  /**
   * Called once when the lease can't be kept, which for some is at once; with it there is no warning, since whoever
   * listens fetches a successor. Called again if it could be renewed after all, and then no more.
   */
  readonly onEnding?: (ending: LeaseEnding) => void;
  /** In [0, 1). */
  readonly random?: () => number;
}

/** Revokes leases that nobody has kept, as LeaseKeeper.revoke does, all at the same time. */
export async function revokeLeases(
  leases: Iterable<readonly [Lease, LeaseOrigin]>,
  { clock, emit }: LeaseKeeperOptions,
): Promise<void> {
  await Promise.all(Array.from(leases, ([lease, origin]) => revoke(lease, origin, clock, emit)));
}

export class LeaseKeeper {
  readonly #lease: Lease;
  readonly #origin: LeaseOrigin;
  readonly #options: LeaseKeeperOptions;
  /** Aborted: the lease is no longer kept. */
  readonly #done = new AbortController();
  #timer: Timer | undefined;
  /** The term as it was last agreed, in ms by `now()`. */
  #term: { readonly since: number; readonly endsAt: number };
  #failures = 0;
  #isReported = false;
  /** The backend knows it no more. */
  #isGone = false;

  constructor(lease: Lease, origin: LeaseOrigin, options: LeaseKeeperOptions) {
    this.#lease = lease;
    this.#origin = origin;
    this.#options = options;
    this.#term = { since: origin.since, endsAt: origin.since + lease.term.durationMs };
    if (lease.term.renewable) this.#renewAfter(this.#left * RENEW_AFTER);
    else this.#report("it is not renewable");
  }

  /** Renews it no more, and revokes it in at most REVOKE_MS; if it can't be revoked, that is a warning. Never rejects. */
  async revoke(): Promise<void> {
    this.#timer?.cancel();
    this.#done.abort(new Error("the lease is given up"));
    if (this.#isGone || this.#left <= 0) return;
    await revoke(this.#lease, this.#origin, this.#options.clock, this.#options.emit);
  }

  get #left(): number {
    return this.#term.endsAt - this.#options.clock.now();
  }

  #renewAfter(ms: number): void {
    this.#timer = this.#options.clock.after(Math.max(ms, 0), () => void this.#renew(), { background: true });
  }

  async #renew(): Promise<void> {
    const { clock } = this.#options;
    const askedAt = clock.now();
    const limit = Math.min(RENEW_MS, Math.max(this.#left, LEAST_GAIN_MS));
    const tooLate = new AbortController();
    const timer = clock.after(limit, () => tooLate.abort(noAnswer(limit)), { background: true });
    const signal = AbortSignal.any([this.#done.signal, tooLate.signal]);
    try {
      const term = await untilAborted(signal, this.#lease.renew(signal));
      if (!this.#done.signal.aborted) this.#renewed(term, askedAt);
    } catch (error) {
      if (!this.#done.signal.aborted) this.#failed(error);
    } finally {
      timer.cancel();
    }
  }

  #renewed({ durationMs, renewable }: LeaseTerm, askedAt: number): void {
    const endsAt = askedAt + durationMs;
    const isLonger = endsAt - this.#term.endsAt >= LEAST_GAIN_MS;
    this.#failures = 0;
    // An answer that adds nothing begins no term: 85 % of the little that is left would be too late for a successor.
    this.#term = { since: isLonger ? askedAt : this.#term.since, endsAt };
    if (!renewable) this.#report("it is no longer renewable");
    else if (!isLonger) this.#report("the backend does not lengthen it any more");
    else {
      this.#isReported = false;
      this.#renewAfter(this.#left * RENEW_AFTER);
    }
  }

  #failed(error: unknown): void {
    const reason = reasonOf(error);
    const failure = error instanceof ProviderError ? error.failure : "unavailable";
    const left = this.#left;
    this.#isGone = failure === "missing";
    // Somebody has revoked it: what it lent is of no use any more.
    if (this.#isGone) this.#term = { since: this.#term.since, endsAt: this.#options.clock.now() };
    if (failure !== "unavailable" || left <= 0) {
      this.#report(reason);
      return;
    }
    if (this.#options.clock.now() >= this.#refetchAt) this.#report(reason);
    const { random = Math.random } = this.#options;
    const most = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures++;
    this.#renewAfter(Math.min(random() * most, left));
  }

  get #refetchAt(): number {
    const { since, endsAt } = this.#term;
    return since + (endsAt - since) * REFETCH_AFTER;
  }

  #report(reason: string): void {
    if (this.#isReported) return;
    this.#isReported = true;
    const { names, from } = this.#origin;
    const { emit, onEnding } = this.#options;
    const endsAt = new Date(this.#term.endsAt);
    const verb = this.#left > 0 ? "ends" : "has ended";
    const message = `the lease of ${whose(names)} from ${from} ${verb} at ${timeOf(endsAt)} and can't be renewed: ${reason}`;
    if (onEnding) {
      emit({ type: "debug", message });
      onEnding({ lease: this.#lease, names, from, endsAt, refetchAt: new Date(this.#refetchAt) });
    } else {
      const hint = "a restart of the server in good time, or a longer max_ttl at the backend";
      emit({ type: "warning", message, hint });
    }
  }
}

async function revoke(
  lease: Lease,
  { names, from, since }: LeaseOrigin,
  clock: Clock,
  emit: Emit,
): Promise<void> {
  const tooLate = new AbortController();
  try {
    await withDeadline(clock, REVOKE_MS, lease.revoke(tooLate.signal), () => noAnswer(REVOKE_MS));
  } catch (error) {
    tooLate.abort(error);
    emit({
      type: "warning",
      message: `the lease of ${whose(names)} from ${from} could not be revoked: ${reasonOf(error)}; it was given at ${timeOf(new Date(since))} and ends by itself`,
      hint: "revoking it at the backend, if that is too late",
    });
  }
}

function whose(names: readonly string[]): string {
  return names.length > 0 ? names.join(", ") : "a secret";
}

/** Only errors of the family are known to hold no secret. */
function reasonOf(error: unknown): string {
  if (error instanceof ProviderError) return error.reason;
  return error instanceof McpRunError ? error.message : "the backend's code failed";
}

function noAnswer(ms: number): ProviderError {
  return new ProviderError("unavailable", `no answer within ${Math.round(ms / 100) / 10} s`);
}

/** To the second, UTC. */
function timeOf(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

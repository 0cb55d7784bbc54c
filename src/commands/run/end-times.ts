/**
 * When secrets in use have to be looked at again because they end: a lease that can't be kept, a value with a date,
 * and what the cache has stood in for, at once. Wall-clock times in ms.
 */
import { refetchAfter } from "../../launch/schedule.ts";
import type { LeaseEnding } from "../../secrets/lease-keeper.ts";
import type { Lease } from "../../secrets/provider.ts";
import type { Resolution, ResolvedSecret } from "../../secrets/resolution.ts";

export class EndTimes {
  readonly #leases = new Map<Lease, number>();
  /** By name: the date, and when a successor is looked for, counted from when the date was first seen. */
  #dates = new Map<string, { readonly endsAt: number; readonly refetchAt: number }>();

  leaseEnds({ lease, refetchAt }: Pick<LeaseEnding, "lease" | "refetchAt">): void {
    this.#leases.set(lease, refetchAt.getTime());
  }

  /** The leases for which the time has come. */
  endedLeases(now: number): ReadonlySet<Lease> {
    return new Set([...this.#leases].filter(([, refetchAt]) => refetchAt <= now).map(([lease]) => lease));
  }

  /** The next times for these secrets; one in the past means that nothing better has come yet. */
  timesOf({ secrets }: Resolution, now: number): readonly number[] {
    const inUse = new Set(secrets.map(({ lease }) => lease));
    for (const lease of this.#leases.keys()) if (!inUse.has(lease)) this.#leases.delete(lease);
    this.#dates = new Map(secrets.flatMap((secret) => this.#dateOf(secret, now)));
    const provisional = secrets.some(({ cachedSince }) => cachedSince) ? [now] : [];
    const dates = [...this.#dates.values()].map(({ refetchAt }) => refetchAt);
    return [...this.#leases.values(), ...dates, ...provisional];
  }

  #dateOf({ name, expiresAt, lease }: ResolvedSecret, now: number) {
    if (!expiresAt || lease) return [];
    const endsAt = expiresAt.getTime();
    const known = this.#dates.get(name);
    const date = known?.endsAt === endsAt ? known : { endsAt, refetchAt: now + refetchAfter(endsAt - now) };
    return [[name, date] as const];
  }
}

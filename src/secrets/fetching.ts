/**
 * One fetch of a profile's secrets, and what stays of it. Cache and breaker take part only where the profile has a
 * backend across a network; for any other start they are not even loaded.
 */
import { ProviderError } from "../errors.ts";
import type { Breaker } from "./breaker.ts";
import type { CacheKeeping } from "./cache-keeping.ts";
import type { CacheUse } from "./cache-use.ts";
import type { CacheSettings } from "./document-cache.ts";
import { fetchAll } from "./fetch-all.ts";
import type { Held } from "./held.ts";
import { hold } from "./hold.ts";
import { ProviderPool, type SharedContext } from "./provider-pool.ts";
import type { Document, Resolution, ResolveRequest } from "./resolution.ts";
import type { Ref } from "./spec.ts";

export class Fetching {
  readonly pool: ProviderPool;
  readonly #request: ResolveRequest;
  #loading: Promise<CacheUse> | undefined;
  #keeping: CacheKeeping | undefined;

  constructor(request: ResolveRequest) {
    const { kinds, providers, context, timeoutMs, breaker, inUse } = request;
    this.#request = request;
    // Not by way of the request: what lives as long as a lease would hold on to every refresh before.
    this.pool = new ProviderPool(kinds, providers, context, {
      timeoutMs,
      ...(breaker && { breaker: () => loadBreaker(context, breaker === "lets-through") }),
    });
    if (inUse) this.pool.hide([...inUse.documents.values()].map(({ value }) => value));
  }

  /** Every document that the request names, or why it could not be had. Rejects only when aborted. */
  async fetch(): Promise<ReadonlyMap<Ref, Document | ProviderError>> {
    const { cache, inUse } = this.#request;
    const loadCache = cache && (() => this.#useCache(cache));
    const answers = await fetchAll(this.pool, this.#request, loadCache);
    const use = await this.#loading;
    if (!use || inUse) return answers;
    const documents = new Map<Ref, Document | ProviderError>();
    for (const [ref, answer] of answers) {
      const isSecret = !(answer instanceof ProviderError);
      documents.set(ref, isSecret ? { ...answer, cachedSince: use.servedFrom(ref.request) } : answer);
    }
    return documents;
  }

  /** Keeps the leases of these documents from now on, and what else outlives the fetch. */
  hold(outcome: Pick<Resolution, "documents" | "secrets">): Held {
    const { context, onLeaseEnding, inUse } = this.#request;
    return hold({ pool: this.pool, keeping: this.#keeping, before: inUse?.held }, outcome, {
      clock: context.clock,
      emit: context.emit,
      ...(onLeaseEnding && { onEnding: onLeaseEnding }),
    });
  }

  #useCache(settings: CacheSettings): Promise<CacheUse> {
    this.#loading ??= this.#loadCache(settings);
    return this.#loading;
  }

  async #loadCache(settings: CacheSettings): Promise<CacheUse> {
    const { context, kinds, inUse } = this.#request;
    const [{ CacheUse }, { DocumentCache }, { CacheKeeping }] = await Promise.all([
      import("./cache-use.ts"),
      import("./document-cache.ts"),
      import("./cache-keeping.ts"),
    ]);
    const { pool } = this;
    const documents = new DocumentCache({ ...settings, kinds, context });
    const use = new CacheUse({
      cache: documents,
      serves: inUse === undefined,
      identityOf: async (provider) => {
        const { kind, settings: ofProvider } = await pool.kindOf(provider);
        return { type: kind.name, settings: ofProvider };
      },
      placesOf: (provider) => pool.placesOf(provider),
      env: () => context.env.all(),
      clock: context.clock,
      emit: context.emit,
    });
    this.#keeping = new CacheKeeping(use, documents, context.clock);
    return use;
  }
}

async function loadBreaker({ paths, clock, emit }: SharedContext, letsThrough: boolean): Promise<Breaker> {
  const { Breaker } = await import("./breaker.ts");
  return new Breaker({ stateFolder: paths.state, letsThrough, clock, emit });
}

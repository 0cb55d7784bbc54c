/**
 * One fetch of a profile's secrets, and what stays of it. Cache and breaker take part only where the profile has a
 * backend across a network; for any other start they are not even loaded.
 */
import { ProviderError } from "../errors.ts";
import type { Breaker } from "./breaker.ts";
import type { CacheUse } from "./cache-use.ts";
import type { CacheSettings, DocumentCache } from "./document-cache.ts";
import { fetchAll } from "./fetch-all.ts";
import { Held } from "./held.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { ProviderPool } from "./provider-pool.ts";
import type { Document, ResolvedSecret, ResolveRequest } from "./resolution.ts";
import type { Ref } from "./spec.ts";

export class Fetching {
  readonly pool: ProviderPool;
  readonly #request: ResolveRequest;
  #loading: Promise<CacheUse> | undefined;
  #cache: { readonly use: CacheUse; readonly documents: DocumentCache } | undefined;

  constructor(request: ResolveRequest) {
    const { kinds, providers, context, timeoutMs, breaker } = request;
    this.#request = request;
    this.pool = new ProviderPool(kinds, providers, context, {
      timeoutMs,
      ...(breaker && { breaker: () => loadBreaker(request, breaker === "lets-through") }),
    });
  }

  /** Every document that the request names, or why it could not be had. Rejects only when aborted. */
  async fetch(): Promise<ReadonlyMap<Ref, Document | ProviderError>> {
    const { cache } = this.#request;
    const loadCache = cache && (() => this.#useCache(cache));
    const answers = await fetchAll(this.pool, this.#request, loadCache);
    const use = this.#cache?.use;
    if (!use) return answers;
    const documents = new Map<Ref, Document | ProviderError>();
    for (const [ref, answer] of answers) {
      const isSecret = !(answer instanceof ProviderError);
      documents.set(ref, isSecret ? { ...answer, cachedSince: use.servedFrom(ref.request) } : answer);
    }
    return documents;
  }

  /** Keeps the leases of these secrets from now on, and what else outlives the fetch. */
  hold(secrets: readonly ResolvedSecret[]): Held {
    const { clock, emit } = this.#request.context;
    const lent = this.pool.takeLeases();
    const leases = lent.size > 0 ? new LeaseKeeper({ clock, emit }) : undefined;
    for (const [lease, origin] of lent) {
      const names = secrets.filter((secret) => secret.lease === lease).map(({ name }) => name);
      leases?.keep(lease, { ...origin, names });
    }
    return new Held({ pool: this.pool, clock, leases, cache: this.#cache });
  }

  #useCache(settings: CacheSettings): Promise<CacheUse> {
    this.#loading ??= this.#loadCache(settings);
    return this.#loading;
  }

  async #loadCache(settings: CacheSettings): Promise<CacheUse> {
    const { context, kinds } = this.#request;
    const [{ CacheUse }, { DocumentCache }] = await Promise.all([
      import("./cache-use.ts"),
      import("./document-cache.ts"),
    ]);
    const { pool } = this;
    const documents = new DocumentCache({ ...settings, kinds, context });
    const use = new CacheUse({
      cache: documents,
      identityOf: async (provider) => {
        const { kind, settings: ofProvider } = await pool.kindOf(provider);
        return { type: kind.name, settings: ofProvider };
      },
      placesOf: (provider) => pool.placesOf(provider),
      env: () => context.env.all(),
      clock: context.clock,
      emit: context.emit,
    });
    this.#cache = { use, documents };
    return use;
  }
}

async function loadBreaker({ context }: ResolveRequest, letsThrough: boolean): Promise<Breaker> {
  const { Breaker } = await import("./breaker.ts");
  const { paths, clock, emit } = context;
  return new Breaker({ stateFolder: paths.state, letsThrough, clock, emit });
}

/** What goes into the resolver and what comes out of it. */
import type { ProviderError } from "../errors.ts";
import type { CacheSettings } from "./document-cache.ts";
import type { Held } from "./held.ts";
import type { LeaseEnding } from "./lease-keeper.ts";
import type { FetchedSecret, Lease, ProviderKinds } from "./provider.ts";
import type { SharedContext } from "./provider-pool.ts";
import type { Secret } from "./secret.ts";
import type { Delivery, ProviderEntry, Ref, SecretSpec, SecretsFromSpec } from "./spec.ts";
import type { VersionChecks } from "./version-checks.ts";

export interface ResolveRequest {
  readonly secrets: readonly SecretSpec[];
  readonly secretsFrom: readonly SecretsFromSpec[];
  readonly providers: ReadonlyMap<string, ProviderEntry>;
  readonly kinds: ProviderKinds;
  readonly context: SharedContext;
  /** Ms a backend may take. */
  readonly timeoutMs: number;
  /** Where the last good documents are kept for a bad day; without it none are, and none are served. */
  readonly cache?: CacheSettings | undefined;
  /**
   * What becomes of a backend that fails again and again: it is left alone for a while, or, where a person is
   * watching, asked all the same. Without it nothing is remembered.
   */
  readonly breaker?: "guards" | "lets-through";
  /** Set at a refresh: then only what may have changed is fetched, and nothing is served from the cache. */
  readonly inUse?: InUse;
  /** Values to be tried in place of those that the backends give, by the name of the secret: for a canary. */
  readonly candidates?: ReadonlyMap<string, Secret>;
  /** Called for each lease that will end although its values are still in use. */
  readonly onLeaseEnding?: (ending: LeaseEnding) => void;
  /** Aborted: the whole set is given up at once. */
  readonly signal: AbortSignal;
}

export interface ResolvedSecret {
  readonly name: string;
  readonly value: Secret;
  /** Where it came from, for people: the ref as written, or `template`. */
  readonly from: string;
  readonly version?: string;
  /** See FetchedSecret: of the document, whatever field of it this is. */
  readonly place?: string;
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
  /** It ends with this lease. */
  readonly lease?: Lease;
  /** Set if it came from the cache: when the backend gave it. */
  readonly cachedSince?: Date;
  readonly deliver: Delivery;
  readonly scrub: boolean;
}

/** One secret that could not be had, and why. */
export interface SecretFailure {
  readonly name: string;
  readonly from: string;
  readonly error: ProviderError;
}

export interface Resolution {
  /** What each ref of the request gave, where it gave something. */
  readonly documents: ReadonlyMap<Ref, Document>;
  readonly secrets: readonly ResolvedSecret[];
  readonly failures: readonly SecretFailure[];
  /** Values that opened a backend (secret zero): never given to the server, but scrubbed. */
  readonly secretZero: readonly { readonly name: string; readonly value: Secret }[];
  /** What lives as long as the program; whoever got the resolution releases it. */
  readonly held: Held;
}

/** What a refresh knows of the secrets in use, by the same Ref objects as in its request. */
export interface InUse extends Pick<Resolution, "documents" | "held"> {
  /** Leases that need a successor: their documents are fetched again, which other leased ones are not. */
  readonly ending: ReadonlySet<Lease>;
  readonly checks: VersionChecks;
}

/** A document of a backend, and where it really came from. */
export interface Document extends FetchedSecret {
  readonly cachedSince?: Date | undefined;
}

/** A resolved secret that keeps what the backend said of its version. */
export function resolvedFrom(
  spec: Pick<SecretSpec, "name" | "deliver" | "scrub">,
  value: Secret,
  from: string,
  { version, place, createdAt, expiresAt, lease, cachedSince }: Partial<Document> = {},
): ResolvedSecret {
  return {
    name: spec.name,
    value,
    from,
    deliver: spec.deliver,
    scrub: spec.scrub,
    ...(version !== undefined && { version }),
    ...(place !== undefined && { place }),
    ...(createdAt && { createdAt }),
    ...(expiresAt && { expiresAt }),
    ...(lease && { lease }),
    ...(cachedSince && { cachedSince }),
  };
}

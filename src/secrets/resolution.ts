/** What goes into the resolver and what comes out of it. */
import type { ProviderError } from "../errors.ts";
import type { FetchedSecret, ProviderKinds } from "./provider.ts";
import type { SharedContext } from "./provider-pool.ts";
import type { Secret } from "./secret.ts";
import type { Delivery, ProviderEntry, SecretSpec, SecretsFromSpec } from "./spec.ts";

export interface ResolveRequest {
  readonly secrets: readonly SecretSpec[];
  readonly secretsFrom: readonly SecretsFromSpec[];
  readonly providers: ReadonlyMap<string, ProviderEntry>;
  readonly kinds: ProviderKinds;
  readonly context: SharedContext;
  /** Ms a backend may take, opening it included. */
  readonly timeoutMs: number;
  /** Aborted: the whole set is given up at once. */
  readonly signal: AbortSignal;
}

export interface ResolvedSecret {
  readonly name: string;
  readonly value: Secret;
  /** Where it came from, for people: the ref as written, or `template`. */
  readonly from: string;
  readonly version?: string;
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
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
  readonly secrets: readonly ResolvedSecret[];
  readonly failures: readonly SecretFailure[];
  /** Values that opened a backend (secret zero): never given to the server, but scrubbed. */
  readonly secretZero: readonly { readonly name: string; readonly value: Secret }[];
}

/** A resolved secret that keeps what the backend said of its version. */
export function resolvedFrom(
  spec: Pick<SecretSpec, "name" | "deliver" | "scrub">,
  value: Secret,
  from: string,
  { version, createdAt, expiresAt }: Partial<FetchedSecret> = {},
): ResolvedSecret {
  return {
    name: spec.name,
    value,
    from,
    deliver: spec.deliver,
    scrub: spec.scrub,
    ...(version !== undefined && { version }),
    ...(createdAt && { createdAt }),
    ...(expiresAt && { expiresAt }),
  };
}

/** What of a profile's secrets other machines may have too: only that is ever spoken of on the bus. */
import { busKey, isOfOneMachine } from "../../control/bus/names.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import type { ProviderEntry } from "../../secrets/spec.ts";

export type SharedSecrets = ReadonlyMap<string, readonly [ResolvedSecret, ...ResolvedSecret[]]>;

/** By its key on the bus; several of one key where a profile has a secret twice. */
export function sharedSecrets(
  secrets: readonly ResolvedSecret[],
  providers: ReadonlyMap<string, ProviderEntry>,
): SharedSecrets {
  const shared = new Map<string, [ResolvedSecret, ...ResolvedSecret[]]>();
  for (const secret of secrets) {
    // A template is made of others, and its name is no ref.
    if (!secret.from.includes(":") || backendOf(secret.from, providers) === undefined) continue;
    const key = busKey(secret);
    const same = shared.get(key);
    if (same) same.push(secret);
    else shared.set(key, [secret]);
  }
  return shared;
}

/** The type of the backend behind a ref; undefined for one that only this machine has. */
export function backendOf(from: string, providers: ReadonlyMap<string, ProviderEntry>): string | undefined {
  const word = from.split(":", 1)[0] ?? from;
  const type = providers.get(word)?.type ?? word;
  return isOfOneMachine(type) ? undefined : type;
}

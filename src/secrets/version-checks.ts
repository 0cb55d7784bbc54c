/**
 * Asks for versions before values, where a backend answers that for less. What goes wrong here is no failure: then
 * the value is fetched. Who may not ask for a version is told so once, and not at every refresh: one of these lives as
 * long as the secrets are refreshed.
 */
import { ProviderError } from "../errors.ts";
import type { FetchedSecret, Provider } from "./provider.ts";

const CHECKS_AT_ONCE = 8;

export interface CheckedRef {
  readonly ref: object;
  /** The same text for the same document, and for no other. */
  readonly key: string;
  /** What it gave before; undefined if it is to be fetched in any case. */
  readonly before: FetchedSecret | undefined;
}

export class VersionChecks {
  readonly #refused = new Set<string>();

  /** What these refs gave before, for those that would give the same version now. Rejects only when aborted. */
  async unchanged(
    provider: Provider<object>,
    refs: readonly CheckedRef[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<object, FetchedSecret>> {
    const same = new Map<object, FetchedSecret>();
    if (!provider.peekVersion) return same;
    const waiting = refs.filter(
      ({ key, before }) => before?.version !== undefined && !this.#refused.has(key),
    );
    /** True as long as the backend answers. */
    const checkNext = async (): Promise<boolean> => {
      const asked = waiting.shift();
      if (!asked) return false;
      const version = await this.#versionOf(provider, asked, signal);
      if (version instanceof ProviderError) return version.failure === "denied";
      if (asked.before && version !== undefined && version === asked.before.version) {
        same.set(asked.ref, asked.before);
      }
      return true;
    };
    // The first one alone: a login or a place that it finds out serves the others.
    if (!(await checkNext())) return same;
    const checkAsLongAsItAnswers = async () => {
      while (await checkNext());
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, checkAsLongAsItAnswers));
    return same;
  }

  async #versionOf(
    provider: Provider<object>,
    { ref, key, before }: CheckedRef,
    signal: AbortSignal,
  ): Promise<string | undefined | ProviderError> {
    try {
      return await provider.peekVersion?.(ref, signal, before);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ProviderError)) throw error;
      if (error.failure === "denied") this.#refused.add(key);
      return error;
    }
  }
}

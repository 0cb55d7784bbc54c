/**
 * What the stores of a rotation have given to it. A hook may know the same values, and tell its stderr of them, although
 * it was not told them here: they are kept out of whatever is quoted of it.
 */
import type { Target, TargetStore } from "../../rotation/contract.ts";
import type { FetchedSecret } from "../../secrets/provider.ts";
import type { Secret } from "../../secrets/secret.ts";
import { quotable } from "../quotable.ts";

export class SeenValues {
  readonly #values: Secret[] = [];

  /** The same target; what its store gives from now on is remembered. */
  watch(target: Target): Target {
    const { store } = target;
    const seen = async <T extends FetchedSecret | undefined>(given: Promise<T>): Promise<T> => {
      const secret = await given;
      if (secret) this.#remember(secret.value);
      return secret;
    };
    const watched: TargetStore = {
      ...store,
      read: (signal) => seen(store.read(signal)),
      readVersion: (version, signal) => seen(store.readVersion(version, signal)),
      fetchCandidate: (rotationId, signal) => seen(store.fetchCandidate(rotationId, signal)),
    };
    return { ...target, store: watched };
  }

  readonly quotable = (text: string, values: readonly Secret[]): string =>
    quotable(text, [...values, ...this.#values]);

  #remember(value: Secret): void {
    if (!this.#values.some((other) => other.equals(value))) this.#values.push(value);
  }
}

/**
 * What one provider has used to identify itself, noted while it was opened: variables it read, secrets its
 * settings led to, and what it said itself. Nothing of it leaves the process but as a fingerprint.
 */
import type { EnvironmentReader } from "./provider.ts";
import type { Secret } from "./secret.ts";

export class CredentialTrail {
  readonly #environment = new Map<string, string | undefined>();
  readonly #places = new Set<string>();
  readonly #zero = new Map<string, Secret>();
  readonly #said = new Set<string>();
  #isComplete = false;

  /** The environment as this provider gets it: the same, but what it reads is noted. */
  watch(env: EnvironmentReader): EnvironmentReader {
    const noted = (name: string, value: string | undefined) => {
      if (!this.#isComplete) this.#environment.set(name, value);
      return value;
    };
    return {
      get: (name) => noted(name, env.get(name)),
      place: (name) => {
        if (!this.#isComplete) this.#places.add(name);
        return noted(name, env.place(name));
      },
      all: () => env.all(),
      get namesRead() {
        return env.namesRead;
      },
    };
  }

  resolved(ref: string, value: Secret): void {
    if (!this.#isComplete) this.#zero.set(ref, value);
  }

  said(text: string): void {
    if (!this.#isComplete) this.#said.add(text);
  }

  /** The provider is open: what it reads from now on does not tell one credential from another. */
  complete(): void {
    this.#isComplete = true;
  }

  /**
   * The names of the variables that say which backend is asked. What is only a password does not: a new login must
   * not make the cache of the same backend worthless.
   */
  get places(): readonly string[] {
    const isPlace = (name: string) =>
      this.#places.has(name) || !/TOKEN|SECRET|PASSWORD|PASSPHRASE/i.test(name);
    return [...this.#environment.keys()].filter(isPlace).sort();
  }

  /** For a keyed fingerprint only. The order of events does not matter, since some go on side by side. */
  reveal(): unknown {
    return {
      environment: Object.fromEntries([...this.#environment].map(([name, value]) => [name, value ?? null])),
      zero: Object.fromEntries([...this.#zero].map(([ref, value]) => [ref, value.reveal()])),
      said: [...this.#said].sort(),
    };
  }
}

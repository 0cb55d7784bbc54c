/** Opens and closes a store with a passphrase, which another provider keeps. */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import type { AgeHeader } from "./age/header.ts";
import type { Seal } from "./age/seal.ts";
import { unwrapWithPassphrase } from "./age/unwrap.ts";
import type { Places } from "./places.ts";
import type { StoreKey } from "./store-key.ts";

export class PassphraseKey implements StoreKey {
  readonly #ref: string;
  readonly #places: Places;
  readonly #context: ProviderContext;

  constructor(ref: string, places: Places, context: ProviderContext) {
    this.#ref = ref;
    this.#places = places;
    this.#context = context;
  }

  async unlock(header: AgeHeader, signal: AbortSignal): Promise<Buffer> {
    const { store } = this.#places;
    if (header.stanzas[0]?.type !== "scrypt") {
      throw new ProviderError("denied", `${store} is encrypted for public keys, not with a passphrase`, {
        hint: `removing passphrase: from the settings of ${this.#context.name}`,
      });
    }
    const fileKey = await unwrapWithPassphrase(header, await this.#passphrase(signal));
    if (fileKey) return fileKey;
    throw new ProviderError("denied", `the passphrase from ${this.#ref} does not open ${store}`);
  }

  async prepareToWrite(): Promise<void> {
    // A passphrase is made by a person.
  }

  async sealAfter(_previous: AgeHeader | undefined, signal: AbortSignal): Promise<Seal> {
    const { sealWithPassphrase } = await import("./age/seal.ts");
    return sealWithPassphrase(await this.#passphrase(signal));
  }

  async #passphrase(signal: AbortSignal): Promise<string> {
    const passphrase = await this.#context.resolveRef(this.#ref, signal);
    if (passphrase.isEmpty) {
      throw new ProviderError("invalid", `the passphrase from ${this.#ref} is empty`);
    }
    return passphrase.reveal();
  }
}

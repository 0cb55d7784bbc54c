/**
 * Opens a store with this machine's identities, and closes it for the pinned recipients and its own key.
 * What the ciphertext says about its recipients is only counted, never believed.
 */
import { ProviderError } from "../../src/errors.ts";
import type { AgeHeader } from "./age/header.ts";
import { recipientOf } from "./age/keys.ts";
import type { Seal } from "./age/seal.ts";
import { unwrapWithIdentities } from "./age/unwrap.ts";
import { namingFile } from "./file-error.ts";
import {
  type IdentitySearch,
  type IdentitySource,
  identitySources,
  KEY_VARIABLE,
  ownIdentity,
} from "./identity.ts";
import type { Places } from "./places.ts";
import { readPinned } from "./recipients.ts";
import type { StoreKey } from "./store-key.ts";

export class IdentityKey implements StoreKey {
  readonly search: IdentitySearch;

  constructor(search: IdentitySearch) {
    this.search = search;
  }

  async unlock(header: AgeHeader, signal: AbortSignal): Promise<Buffer> {
    const { store } = this.search.places;
    const tried: IdentitySource[] = [];
    for await (const source of identitySources(this.search, signal)) {
      const fileKey = namingFile(store, () => unwrapWithIdentities(header, source.identities));
      if (fileKey) return fileKey;
      tried.push(source);
    }
    throw this.#refusal(header, tried);
  }

  async prepareToWrite(signal: AbortSignal): Promise<void> {
    if (await ownIdentity(this.search, signal)) return;
    const { settings, places, context } = this.search;
    if (settings.recipients === undefined && readPinned(places.recipientsFile, context)) {
      // A new one here would hide that the old one is only out of reach, as a keychain is over SSH.
      throw new ProviderError("denied", `our identity is gone or out of reach: ${lookedAt(places)}`, {
        hint: `a backup of it, or, to begin anew, removing ${places.recipientsFile}`,
      });
    }
    const { makeIdentity } = await import("./make-identity.ts");
    await makeIdentity(this.search, signal);
  }

  async sealAfter(previous: AgeHeader | undefined, signal: AbortSignal): Promise<Seal> {
    const [{ pinnedForWrite }, { sealForRecipients }] = await Promise.all([
      import("./pinned.ts"),
      import("./age/seal.ts"),
    ]);
    return sealForRecipients((await pinnedForWrite(this.search, previous, signal)).keys);
  }

  #refusal(header: AgeHeader, [tried]: readonly IdentitySource[]): ProviderError {
    const { places, context } = this.search;
    if (header.stanzas[0]?.type === "scrypt") {
      return new ProviderError("denied", `${places.store} is encrypted with a passphrase`, {
        hint: `passphrase: REF in the settings of ${context.name}`,
      });
    }
    if (!tried) {
      return new ProviderError("denied", `${places.store} can't be opened: ${lookedAt(places)}`, {
        hint: `${KEY_VARIABLE}, or the backup of your identity at ${places.identityFile}`,
      });
    }
    const publicKey = recipientOf(tried.identities[0]);
    const reason = `${places.store} is encrypted for other keys than ours (${publicKey} from ${tried.where})`;
    return new ProviderError("denied", reason, {
      hint: `${addCommand(publicKey, context.name)}, on a machine that can read the store`,
    });
  }
}

function lookedAt({ identityFile }: Places): string {
  return `${KEY_VARIABLE} is not set, ${identityFile} does not exist, and the OS keychain has no identity or is out of reach`;
}

function addCommand(publicKey: string, provider: string): string {
  const option = provider === "local" ? "" : ` --provider ${provider}`;
  return `mcp-run secrets recipients add ${publicKey}${option}`;
}

/** How one store is opened and closed: by identities (identity-key.ts) or by a passphrase (passphrase-key.ts). */
import type { AgeHeader } from "./age/header.ts";
import type { Seal } from "./age/seal.ts";

export interface StoreKey {
  /** The file key. Throws ProviderError: `denied` if we have nothing that fits. */
  unlock(header: AgeHeader, signal: AbortSignal): Promise<Buffer>;
  /** Called under the write lock before anything is read: makes what a first write needs. */
  prepareToWrite(signal: AbortSignal): Promise<void>;
  /** How the next content is encrypted. Throws ProviderError. */
  sealAfter(previous: AgeHeader | undefined, signal: AbortSignal): Promise<Seal>;
}

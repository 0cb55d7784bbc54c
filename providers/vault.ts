/**
 * `vault`: HashiCorp Vault and OpenBao, KV in both versions and every engine that gives a value for a read. Without
 * settings it goes by VAULT_ADDR and VAULT_TOKEN; the parts are in vault/, the guide is docs/providers/vault.md.
 */
import type { ProviderKind } from "../src/secrets/provider.ts";
import { readAddress } from "./vault/address.ts";
import { readCredential } from "./vault/credential.ts";
import { VaultProvider } from "./vault/provider.ts";
import { configSchema, refSchema, type VaultRef, type VaultSettings } from "./vault/settings.ts";

export const vaultKind: ProviderKind<VaultSettings, VaultRef> = {
  name: "vault",
  worksWithoutSettings: true,
  isRemote: true,
  configSchema,
  refSchema,
  async open(settings, context) {
    const address = await readAddress(settings, context);
    return new VaultProvider(address, await readCredential(settings, context), settings.mount, context);
  },
};

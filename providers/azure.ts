/**
 * `azure-key-vault`: secrets of one vault of Azure, or of an emulator. The SDK is loaded when a vault is opened, and
 * of its credentials only the one that the profile names. The parts are in azure/, the guide is
 * docs/providers/azure-key-vault.md.
 */
import type { ProviderContext, ProviderKind, RotatableStore } from "../src/secrets/provider.ts";
import { pathOf, readSetting } from "./azure/files.ts";
import { proxySettings } from "./azure/proxy.ts";
import { type AzureConfig, type AzureRef, configSchema, refSchema, settingsOf } from "./azure/settings.ts";

export interface AzureKind extends ProviderKind<AzureConfig, AzureRef> {
  open(config: AzureConfig, context: ProviderContext): Promise<RotatableStore<AzureRef>>;
}

export const azureKind: AzureKind = {
  name: "azure-key-vault",
  worksWithoutSettings: false,
  isRemote: true,
  configSchema,
  refSchema,
  async open(config, context) {
    const settings = settingsOf(config);
    const network = {
      clock: context.clock,
      ca: settings.caCert && (await readSetting("caCert", pathOf(settings.caCert, context))),
      proxy: proxySettings(context.env.all()),
    };
    const [{ tokenSource }, { Login }, { VaultConnection }, { KeyVault }] = await Promise.all([
      import("./azure/login/token-source.ts"),
      import("./azure/login/login.ts"),
      import("./azure/connection.ts"),
      import("./azure/key-vault.ts"),
    ]);
    const login = new Login(await tokenSource(settings, network, context), context.clock);
    return new KeyVault(new VaultConnection(settings, network, login), context.clock, settings.ignoreDates);
  },
};

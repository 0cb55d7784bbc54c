/** Opens the provider as the suites of the contract want it, on the fake server or on any other. */

import type { VaultProvider } from "../../../providers/vault/provider.ts";
import type { VaultRef } from "../../../providers/vault/settings.ts";
import { vaultKind } from "../../../providers/vault.ts";
import type { Provider } from "../../../src/secrets/provider.ts";
import { type TestContext, type TestContextOverrides, testContext } from "../../helpers/provider-context.ts";

export interface Opened {
  readonly provider: VaultProvider;
  readonly context: TestContext;
}

/** @param settings as they stand in a profile file */
export async function openVault(settings: object, overrides: TestContextOverrides = {}): Promise<Opened> {
  const context = testContext({ name: "vault", ...overrides });
  const provider = (await vaultKind.open(vaultKind.configSchema.parse(settings), context)) as VaultProvider;
  return { provider, context };
}

/** With a token that `env:TOKEN` stands for. */
export function openWithToken(
  url: string,
  token: string,
  settings: object = {},
  overrides: TestContextOverrides = {},
): Promise<Opened> {
  return openVault(
    { address: url, auth: { method: "token", token: "env:TOKEN" }, ...settings },
    { refs: { "env:TOKEN": token }, ...overrides },
  );
}

export function ref(path: string, version?: string): VaultRef {
  return vaultKind.refSchema.parse({ path, ...(version !== undefined && { version }) });
}

/** What a KV store gives back of a plain entry. */
export function documentOf(value: string): string {
  return JSON.stringify({ value });
}

/** For the contract of a provider without versions: KV version 1 has none, and its change check always says so. */
export function withoutChangeCheck(provider: VaultProvider): Provider<VaultRef> {
  return {
    fetch: (refs, signal) => provider.fetch(refs, signal),
    close: () => provider.close(),
  };
}

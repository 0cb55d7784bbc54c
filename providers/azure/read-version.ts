/** Reads one ref, or says why not: missing, deleted, disabled, expired, refused. */
import { ProviderError } from "../../src/errors.ts";
import { type FetchedSecret, placeAt } from "../../src/secrets/provider.ts";
import { AzureError } from "./azure-error.ts";
import type { AzureRef } from "./settings.ts";
import { said, usable } from "./stored-version.ts";
import type { VaultClient } from "./vault-client.ts";

export interface DateRule {
  /** Ms since the epoch. */
  now(): number;
  readonly ignoreDates: boolean;
}

/** Rejects only with the signal's reason. */
export async function readVersion(
  client: VaultClient,
  { path, version }: AzureRef,
  rule: DateRule,
  signal: AbortSignal,
): Promise<FetchedSecret | ProviderError> {
  try {
    const found = usable(await client.get(path, version, signal), rule.now(), rule.ignoreDates);
    return found instanceof ProviderError ? found : { ...found, ...placeAt(client.placeOf(path)) };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ProviderError)) throw error;
    if (error.failure !== "missing" || version !== undefined) return error;
    return (await deletedError(client, path, signal)) ?? error;
  }
}

/** To a reader a deleted secret looks like one that never was; undefined also where we may not ask. */
async function deletedError(
  client: VaultClient,
  name: string,
  signal: AbortSignal,
): Promise<ProviderError | undefined> {
  try {
    const { deletedAt, until } = await client.deletion(name, signal);
    const when = deletedAt ? ` on ${said(deletedAt)}` : "";
    const kept = until ? `, and can be recovered until ${said(until)}` : "";
    return new AzureError("missing", `${name} was deleted${when}${kept}`, {
      hint: `az keyvault secret recover --vault-name ${client.vault} --name ${name}`,
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

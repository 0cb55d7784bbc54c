/** Opens a store for a command, and says of every failure what could not be done. */
import { McpRunError, ProviderError } from "../../errors.ts";
import { loadProviderEntries } from "../../profile/load.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import {
  isRecipientStore,
  isSecretStore,
  type RecipientStore,
  type SecretStore,
} from "../../secrets/provider.ts";
import { ProviderPool } from "../../secrets/provider-pool.ts";
import type { Ref } from "../../secrets/spec.ts";
import { denials, note } from "../audit/note.ts";
import { type CommandContext, interruptible } from "../context.ts";
import { profileRequest } from "../profile-request.ts";
import { providerContext } from "../start/provider-context.ts";

type StoreWork = (store: SecretStore<object>, item: object, signal: AbortSignal) => Promise<number>;

/** @param action what `work` does, as in «Cannot ACTION: …» */
export function withStore(
  context: CommandContext,
  action: string,
  ref: Ref,
  work: StoreWork,
): Promise<number> {
  return withPool(context, action, ref.provider, async (pool, signal) => {
    const { kind, provider } = await pool.open(ref.provider);
    if (!isSecretStore(provider)) {
      throw new McpRunError("usage", `Cannot ${action}: mcp-run can't write to ${ref.provider}`, {
        hint: "local: or keychain:",
      });
    }
    const item = kind.refSchema.safeParse(ref.request);
    if (item.success) return work(provider, item.data, signal);
    throw new McpRunError("usage", `Cannot ${action}: ${item.error.issues[0]?.message}`);
  });
}

/** The store itself rather than one of its entries. */
export function withWholeStore(
  context: CommandContext,
  action: string,
  name: string,
  work: (store: SecretStore<object>, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return withPool(context, action, name, async (pool, signal) => {
    const { provider } = await pool.open(name);
    if (isSecretStore(provider)) return work(provider, signal);
    throw new McpRunError("usage", `Cannot ${action}: mcp-run can't list ${name}`, {
      hint: "local or keychain",
    });
  });
}

/** Who can read a store, rather than what it holds. Throws McpRunError `usage` for a provider without recipients. */
export function withRecipients(
  context: CommandContext,
  action: string,
  name: string,
  work: (store: RecipientStore, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  return withPool(context, action, name, async (pool, signal) => {
    const { provider } = await pool.open(name);
    if (!isRecipientStore(provider)) {
      throw new McpRunError("usage", `Cannot ${action}: ${name} has no recipients`, {
        hint: "the local provider",
      });
    }
    await work(provider, signal);
    return 0;
  });
}

/**
 * Any provider of the profile file; `work` is aborted by a signal. What providers report becomes «Cannot ACTION: …»,
 * with the exit code that belongs to it.
 */
export function withPool(
  context: CommandContext,
  action: string,
  provider: string,
  work: (pool: ProviderPool, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return noted(context, async (signal) => {
    const entries = await loadProviderEntries(profileRequest(context), [provider]);
    const environment = new RecordingEnvironment(context.env);
    const pool = new ProviderPool(context.kinds, entries, providerContext(context, environment));
    try {
      return await work(pool, signal);
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      throw new McpRunError(error.code, `Cannot ${action}: ${error.reason}`, {
        ...(error.hint && { hint: error.hint }),
        details: error.details,
      });
    } finally {
      await pool.close();
    }
  });
}

/** A refusal is written down. */
async function noted(
  context: CommandContext,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  try {
    return await interruptible(context, work);
  } catch (error) {
    if (error instanceof McpRunError) await note(context, ...denials(error, "secrets"));
    throw error;
  }
}

/** `mcp-run secrets …`: keep values in the stores that mcp-run can write to. Values never pass through argv. */
import { randomBytes } from "node:crypto";
import { McpRunError, ProviderError } from "../errors.ts";
import { loadProviderEntries } from "../profile/load.ts";
import { RecordingEnvironment } from "../secrets/environment-reader.ts";
import {
  isRecipientStore,
  isSecretStore,
  type RecipientStore,
  type SecretStore,
} from "../secrets/provider.ts";
import { ProviderPool } from "../secrets/provider-pool.ts";
import { parseRef } from "../secrets/ref.ts";
import { Secret } from "../secrets/secret.ts";
import type { Ref } from "../secrets/spec.ts";
import { promptHidden, readPiped } from "../ui/prompt.ts";
import { formatTable } from "../ui/table.ts";
import { type CommandContext, interruptible } from "./context.ts";
import { profileRequest } from "./profile-request.ts";
import { providerContext } from "./provider-context.ts";

/** Stores with fewer random bytes than this could be guessed. */
const LEAST_BYTES = 16;
const MOST_BYTES = 4096;

export async function setSecret(context: CommandContext, refText: string): Promise<number> {
  const ref = storeRef(refText);
  return withStore(context, ref, async (store, item, signal) => {
    const value = context.stdin.isTTY
      ? await promptHidden(`Value for ${refText} (not shown): `, context.stdin, context.stderr)
      : await readPiped(context.stdin);
    if (value.isEmpty) {
      throw new McpRunError("usage", `Cannot store ${refText}: the value is empty`, {
        hint: `mcp-run secrets rm ${refText} to remove it`,
      });
    }
    const { version } = await store.put(item, value, signal);
    context.printer.emit({
      type: "notice",
      message: `Stored ${refText}${version ? `, version ${version}` : ""} (${value.reveal().length} characters)`,
    });
    return 0;
  });
}

export async function getSecret(
  context: CommandContext,
  refText: string,
  options: { reveal?: boolean },
): Promise<number> {
  const ref = parsedRef(refText);
  return withPool(context, async (pool, signal) => {
    const { value, version } = await pool.read(ref, signal);
    if (options.reveal) {
      context.stdout.write(context.stdout.isTTY ? `${value.reveal()}\n` : value.reveal());
    } else {
      const length = `${value.reveal().length} characters`;
      context.stdout.write(
        `${refText} is there (${version ? `version ${version}, ` : ""}${length}); --reveal prints it\n`,
      );
    }
    return 0;
  });
}

export async function listSecrets(context: CommandContext, provider: string): Promise<number> {
  return withStore(
    context,
    { provider, request: { path: "" }, text: `${provider}:` },
    async (store, _item, signal) => {
      const entries = [...(await store.list(signal))].sort((a, b) => (a.path < b.path ? -1 : 1));
      if (entries.length === 0) {
        context.printer.emit({
          type: "notice",
          message: `${provider} holds nothing yet. Try mcp-run secrets set ${provider}:NAME`,
        });
        return 0;
      }
      const rows = entries.map(({ path, version, updatedAt }) => [
        `${provider}:${path}`,
        version ?? "",
        updatedAt?.toISOString() ?? "",
      ]);
      context.stdout.write(formatTable([["REF", "VERSION", "UPDATED"], ...rows]));
      return 0;
    },
  );
}

export async function removeSecret(context: CommandContext, refText: string): Promise<number> {
  return withStore(context, storeRef(refText), async (store, item, signal) => {
    if (!(await store.remove(item, signal))) {
      throw new McpRunError("secret-invalid", `Cannot remove ${refText}: there is no such entry`, {
        hint: `mcp-run secrets list ${refText.split(":")[0]}`,
      });
    }
    context.printer.emit({ type: "notice", message: `Removed ${refText}` });
    return 0;
  });
}

export interface GenerateOptions {
  readonly bytes: string;
  readonly encoding: "base64url" | "base64" | "hex";
  readonly replace?: boolean;
}

export async function generateSecret(
  context: CommandContext,
  refText: string,
  options: GenerateOptions,
): Promise<number> {
  const bytes = Number(options.bytes);
  if (!Number.isInteger(bytes) || bytes < LEAST_BYTES || bytes > MOST_BYTES) {
    throw new McpRunError(
      "usage",
      `Cannot generate a value of ${options.bytes} bytes: it must be a whole number from ${LEAST_BYTES} to ${MOST_BYTES}`,
    );
  }
  return withStore(context, storeRef(refText), async (store, item, signal) => {
    const present = (await store.fetch([item], signal)).get(item);
    if (!options.replace && !(present instanceof ProviderError && present.failure === "missing")) {
      if (present instanceof ProviderError) throw present;
      throw new McpRunError("usage", `Cannot generate ${refText}: it has a value already`, {
        hint: "--replace",
      });
    }
    const { version } = await store.put(
      item,
      new Secret(randomBytes(bytes).toString(options.encoding)),
      signal,
    );
    context.printer.emit({
      type: "notice",
      message: `Generated ${refText}${version ? `, version ${version}` : ""} (${bytes} random bytes as ${options.encoding})`,
    });
    return 0;
  });
}

export async function listRecipients(context: CommandContext, provider: string): Promise<number> {
  return withRecipients(context, provider, async (store) => {
    const rows = (await store.recipients()).map(({ publicKey, label, own }) => [
      publicKey,
      label ?? (own ? "this machine" : ""),
    ]);
    context.stdout.write(formatTable([["KEY", "LABEL"], ...rows]));
  });
}

export async function addRecipient(
  context: CommandContext,
  key: string,
  options: { label?: string; provider: string },
): Promise<number> {
  return withRecipients(context, options.provider, async (store, signal) => {
    await store.addRecipient(key, options.label, signal);
    context.printer.emit({
      type: "notice",
      message: `${options.label ?? key} can read ${options.provider}: from now on`,
    });
  });
}

export async function removeRecipient(
  context: CommandContext,
  key: string,
  options: { provider: string },
): Promise<number> {
  return withRecipients(context, options.provider, async (store, signal) => {
    if (!(await store.removeRecipient(key, signal))) {
      throw new McpRunError(
        "usage",
        `Cannot remove recipient ${key}: it is not one of ${options.provider}:`,
        { hint: "mcp-run secrets recipients" },
      );
    }
    context.printer.emit({
      type: "notice",
      message: `${key} can't read new versions of ${options.provider}:`,
    });
  });
}

export async function rekey(context: CommandContext, provider: string): Promise<number> {
  return withRecipients(context, provider, async (store, signal) => {
    const { mustRotate } = await store.rekey(signal);
    context.printer.emit({
      type: "notice",
      message: `${provider}: has a new identity and is encrypted to it`,
    });
    if (mustRotate.length === 0) return;
    context.printer.emit({
      type: "warning",
      message: `Whoever could read the old store may have kept its values. Replace these at their issuers: ${mustRotate.map((path) => `${provider}:${path}`).join(", ")}`,
    });
  });
}

type Work<T> = (store: T, signal: AbortSignal) => Promise<void>;

function withRecipients(context: CommandContext, name: string, work: Work<RecipientStore>): Promise<number> {
  return withPool(context, async (pool, signal) => {
    const { provider } = await pool.open(name);
    if (!isRecipientStore(provider)) {
      throw new McpRunError("usage", `Cannot change who reads ${name}: it has no recipients`, {
        hint: "the local provider",
      });
    }
    await work(provider, signal);
    return 0;
  });
}

function withStore(
  context: CommandContext,
  ref: Ref,
  work: (store: SecretStore<object>, item: object, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return withPool(context, async (pool, signal) => {
    const { kind, provider } = await pool.open(ref.provider);
    if (!isSecretStore(provider)) {
      throw new McpRunError("usage", `Cannot change ${ref.text}: mcp-run can't write to ${ref.provider}`, {
        hint: "local: or keychain:",
      });
    }
    const item = ref.request.path === "" ? {} : kind.refSchema.parse(ref.request);
    return work(provider, item, signal);
  });
}

function withPool(
  context: CommandContext,
  work: (pool: ProviderPool, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return interruptible(context, async (signal) => {
    const entries = await loadProviderEntries(profileRequest(context));
    const pool = new ProviderPool(
      context.kinds,
      entries,
      providerContext(context, new RecordingEnvironment(context.env)),
    );
    try {
      return await work(pool, signal);
    } finally {
      await pool.close();
    }
  });
}

function parsedRef(text: string): Ref {
  const parsed = parseRef(text);
  if (parsed.ok) return parsed.ref;
  throw new McpRunError("usage", `Cannot use "${text}" as a ref: ${parsed.reason}`, { hint: "local:NAME" });
}

/** A ref that names a whole entry: what is written is always the whole value. */
function storeRef(text: string): Ref {
  const ref = parsedRef(text);
  if (!ref.field) return ref;
  throw new McpRunError(
    "usage",
    `Cannot change ${text}: only a whole value can be stored, not one field of it`,
    { hint: `${text.slice(0, text.indexOf("#"))}` },
  );
}

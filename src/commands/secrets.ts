/** `mcp-run secrets …`: keep values in the stores that mcp-run can write to. Values never pass through argv. */
import { randomBytes } from "node:crypto";
import { McpRunError, ProviderError } from "../errors.ts";
import { pickField } from "../secrets/field.ts";
import { parseRef } from "../secrets/ref.ts";
import { Secret } from "../secrets/secret.ts";
import type { Ref } from "../secrets/spec.ts";
import { writeField } from "../secrets/write-field.ts";
import { promptHidden, readPiped } from "../ui/prompt.ts";
import { formatTable } from "../ui/table.ts";
import { timeText } from "../ui/times.ts";
import { auditedRef, note } from "./audit/note.ts";
import type { CommandContext } from "./context.ts";
import { withPool, withStore, withWholeStore } from "./secrets/store-access.ts";

/** Stores with fewer random bytes than this could be guessed. */
const LEAST_BYTES = 16;
const MOST_BYTES = 4096;

export async function setSecret(context: CommandContext, refText: string): Promise<number> {
  const ref = parsedRef(refText);
  return withStore(context, `store ${refText}`, ref, async (store, item, signal) => {
    const value = context.stdin.isTTY
      ? await promptHidden(`Value for ${refText} (not shown): `, context.stdin, context.stderr, signal)
      : await readPiped(context.stdin, signal);
    if (value.isEmpty) {
      throw new McpRunError("usage", `Cannot store ${refText}: the value is empty`, {
        ...(!ref.field && { hint: `mcp-run secrets rm ${refText} to remove it` }),
      });
    }
    const { version } = ref.field
      ? await writeField(store, item, ref.field, value, signal)
      : await store.put(item, value, signal);
    const secrets = [auditedRef(context, refText, { version, value })];
    await note(context, { event: "write", how: "set", secrets });
    context.printer.emit({
      type: "notice",
      message: `Stored ${refText}${version ? `, version ${version}` : ""} (${value.reveal().length} characters)`,
    });
    if (/^(["']).*\1$/s.test(value.reveal())) {
      context.printer.emit({
        type: "warning",
        message: `the value of ${refText} is in quotes, which are part of it`,
        hint: "it again without them, if they are those of a .env file",
      });
    }
    return 0;
  });
}

export async function getSecret(
  context: CommandContext,
  refText: string,
  options: { reveal?: boolean },
): Promise<number> {
  const ref = parsedRef(refText);
  return withPool(context, `read ${refText}`, ref.provider, async (pool, signal) => {
    const { value, version } = await pool.read(ref, signal);
    if (options.reveal) {
      // Before anybody has seen it.
      await note(context, { event: "reveal", secrets: [auditedRef(context, refText, { version, value })] });
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
  return withWholeStore(context, `list ${provider}`, provider, async (store, signal) => {
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
      updatedAt ? timeText(updatedAt.toISOString()) : "",
    ]);
    context.stdout.write(formatTable([["REF", "VERSION", "UPDATED"], ...rows]));
    return 0;
  });
}

export async function removeSecret(context: CommandContext, refText: string): Promise<number> {
  return withStore(context, `remove ${refText}`, entryRef(refText), async (store, item, signal) => {
    if (!(await store.remove(item, signal))) {
      throw new McpRunError("secret-invalid", `Cannot remove ${refText}: there is no such entry`, {
        hint: `mcp-run secrets list ${refText.split(":")[0]}`,
      });
    }
    await note(context, { event: "remove", secrets: [auditedRef(context, refText, {})] });
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
  const ref = parsedRef(refText);
  const value = new Secret(randomBytes(bytes).toString(options.encoding));
  const refuse = () => {
    throw new McpRunError("usage", `Cannot generate ${refText}: it has a value already`, {
      hint: "--replace",
    });
  };
  return withStore(context, `generate ${refText}`, ref, async (store, item, signal) => {
    let written: { readonly version?: string };
    if (ref.field) {
      const { field } = ref;
      written = await writeField(store, item, field, value, signal, (document) => {
        if (!options.replace && document && !isMissing(pickField(document, field))) refuse();
      });
    } else if (options.replace) {
      written = await store.put(item, value, signal);
    } else {
      const present = (await store.fetch([item], signal)).get(item);
      if (present instanceof ProviderError && !isMissing(present)) throw present;
      if (!isMissing(present)) refuse();
      written = await store.put(item, value, signal, { version: undefined });
    }
    const { version } = written;
    const secrets = [auditedRef(context, refText, { version, value })];
    await note(context, { event: "write", how: "generated", secrets });
    context.printer.emit({
      type: "notice",
      message: `Generated ${refText}${version ? `, version ${version}` : ""} (${bytes} random bytes as ${options.encoding})`,
    });
    return 0;
  });
}

function parsedRef(text: string): Ref {
  const parsed = parseRef(text);
  if (parsed.ok) return parsed.ref;
  // Not repeated: who forgets the prompt may have typed the value itself.
  throw new McpRunError("usage", `Cannot use this as a ref: ${parsed.reason}`, { hint: "local:NAME" });
}

/** A ref that names a whole entry. */
function entryRef(text: string): Ref {
  const ref = parsedRef(text);
  if (!ref.field) return ref;
  const entry = `${ref.provider}:${ref.request.path.replaceAll("#", "\\#")}`;
  throw new McpRunError(
    "usage",
    `Cannot remove ${text}: only a whole entry can be removed, not one field of it`,
    { hint: `mcp-run secrets rm ${entry}, which removes all of its fields` },
  );
}

function isMissing(answer: unknown): boolean {
  return answer instanceof ProviderError && answer.failure === "missing";
}

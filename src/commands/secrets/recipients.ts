/** `mcp-run secrets recipients …` and `rekey`: who can read a store that several share. */
import { McpRunError } from "../../errors.ts";
import { formatTable } from "../../ui/table.ts";
import type { CommandContext } from "../context.ts";
import { withRecipients } from "./store-access.ts";

export async function listRecipients(context: CommandContext, provider: string): Promise<number> {
  return withRecipients(context, `list who reads ${provider}`, provider, async (store) => {
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
  return withRecipients(
    context,
    `let ${publicKeyOf(key)} read ${options.provider}`,
    options.provider,
    async (store, signal) => {
      await store.addRecipient(key, options.label, signal);
      context.printer.emit({
        type: "notice",
        message: `${options.label ?? publicKeyOf(key)} can read ${options.provider}: from now on`,
      });
    },
  );
}

export async function removeRecipient(
  context: CommandContext,
  key: string,
  options: { provider: string },
): Promise<number> {
  return withRecipients(
    context,
    `remove recipient ${publicKeyOf(key)}`,
    options.provider,
    async (store, signal) => {
      if (!(await store.removeRecipient(key, signal))) {
        throw new McpRunError(
          "usage",
          `Cannot remove recipient ${publicKeyOf(key)}: it is not one of ${options.provider}:`,
          { hint: "mcp-run secrets recipients" },
        );
      }
      context.printer.emit({
        type: "notice",
        message: `${publicKeyOf(key)} can't read new versions of ${options.provider}:`,
      });
    },
  );
}

export async function rekey(context: CommandContext, provider: string): Promise<number> {
  return withRecipients(context, `rekey ${provider}`, provider, async (store, signal) => {
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

/** Somebody may paste the secret half of a key by mistake: it must not end in a log. */
function publicKeyOf(text: string): string {
  return /secret-key/i.test(text) ? "a secret key" : text;
}

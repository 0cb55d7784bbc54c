/** Writes down what a person does with secrets outside of any program. */
import type { AuditEntry, AuditedSecret } from "../../audit/record.ts";
import type { McpRunError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { CommandContext } from "../context.ts";
import { auditLog, valueFingerprint } from "./log.ts";
import { hasAudit } from "./place.ts";

const MOST_REASON = 1_000;

/** Resolves when they are written; where they can't be, that is a warning. Bounded; never rejects. */
export async function note(context: CommandContext, ...entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length === 0 || !hasAudit(context)) return;
  const { printer } = context;
  const log = auditLog(context, ({ message, hint }) =>
    printer.emit({ type: "warning", message, ...(hint !== undefined && { hint }) }),
  );
  for (const entry of entries) log.record(entry);
  await log.close();
}

/** A secret that goes by its ref; with a fingerprint of its value where there is one. */
export function auditedRef(
  context: CommandContext,
  ref: string,
  { version, value }: { readonly version?: string | undefined; readonly value?: Secret },
): AuditedSecret {
  const fingerprint = value && valueFingerprint(context)?.(value);
  return {
    name: ref,
    from: ref,
    ...(version !== undefined && { version }),
    ...(fingerprint !== undefined && { fingerprint }),
  };
}

/** Nothing for an error that is no refusal. */
export function denials(
  error: Pick<McpRunError, "code" | "message"> | undefined,
  during: "check" | "secrets",
  profile?: string,
): readonly AuditEntry[] {
  if (error?.code !== "access-denied") return [];
  const reason = error.message.slice(0, MOST_REASON);
  return [{ event: "denied", ...(profile !== undefined && { profile }), reason, during }];
}

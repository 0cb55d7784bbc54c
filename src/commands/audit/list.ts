/** `mcp-run audit`: what has happened to the secrets of this user on this machine. */
import { findRecords } from "../../audit/filters.ts";
import { McpRunError } from "../../errors.ts";
import { parseDuration } from "../../profile/quantities.ts";
import { auditJson, auditText } from "../../ui/audit-lines.ts";
import type { CommandContext } from "../context.ts";
import { auditPlace } from "./place.ts";

export interface AuditListOptions {
  readonly profile?: string;
  readonly secret?: string;
  readonly event?: string;
  readonly since?: string;
  readonly limit?: string;
  readonly json?: boolean;
}

/** Returns 0, also if there is nothing. Throws McpRunError. */
export async function listAudit(context: CommandContext, options: AuditListOptions): Promise<number> {
  const { profile, secret, event, since, limit, json } = options;
  const { folder } = auditPlace(context);
  const { records, unreadable } = await findRecords(folder, {
    profile,
    secret,
    event,
    since: since === undefined ? undefined : timeOf(since, context.clock.now()),
    limit: limit === undefined ? undefined : countOf(limit),
  });
  context.stdout.write(json ? auditJson(records) : auditText(records));
  if (records.length === 0) {
    context.printer.emit({ type: "notice", message: `there is no such record in ${folder}` });
  }
  if (unreadable > 0) {
    const message = `${unreadable} lines of the audit are no records`;
    context.printer.emit({ type: "warning", message, hint: "mcp-run audit verify" });
  }
  return 0;
}

/** A date, with a time or without, in UTC or with an offset (ISO 8601). */
const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?)?$/;

function timeOf(text: string, now: number): number {
  const ago = parseDuration(text);
  const time = ago === undefined ? (DATE.test(text) ? Date.parse(text) : Number.NaN) : now - ago;
  if (Number.isNaN(new Date(time).getTime()))
    throw new McpRunError("usage", `Cannot look since ${JSON.stringify(text)}: it is no time`, {
      hint: "24h, 7d, 2026-11-21 or 2026-11-21T14:30Z",
    });
  return time;
}

function countOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new McpRunError("usage", `Cannot print ${JSON.stringify(text)} records: it is no number from 1 up`, {
    hint: "--limit 20",
  });
}

/** Finds records: the newest of those that are asked for, in the order in which they happened. */
import { readSealed } from "./chain.ts";
import { auditFiles, dayOf, dayOfFile, linesOf } from "./files.ts";
import type { AuditedSecret, AuditRecord } from "./record.ts";

export interface AuditFilter {
  readonly profile?: string | undefined;
  /** The name of a secret, or its ref. */
  readonly secret?: string | undefined;
  readonly event?: string | undefined;
  /** Ms since the epoch. */
  readonly since?: number | undefined;
  /** The newest so many. */
  readonly limit?: number | undefined;
}

export interface FoundRecords {
  readonly records: readonly AuditRecord[];
  /** Lines that are no records. */
  readonly unreadable: number;
}

/** Does not verify anything. Throws McpRunError `access-denied` if something can't be read. */
export async function findRecords(folder: string, filter: AuditFilter): Promise<FoundRecords> {
  const { since, limit = Number.POSITIVE_INFINITY } = filter;
  const names = (await auditFiles(folder)).filter(
    (name) => since === undefined || (dayOfFile(name) ?? "") >= dayOf(since),
  );
  const found: AuditRecord[] = [];
  let unreadable = 0;
  let day: string | undefined;
  // From the newest day back, until there are enough.
  for (const name of names.reverse()) {
    if (found.length >= limit && dayOfFile(name) !== day) break;
    day = dayOfFile(name);
    for await (const { bytes, isWhole } of linesOf(folder, name)) {
      const record = isWhole ? readSealed(bytes)?.record : undefined;
      if (!record) unreadable += isWhole ? 1 : 0;
      else if (matches(record, filter)) found.push(record);
    }
  }
  const inOrder = found.sort((a, b) => (a.at === b.at ? a.seq - b.seq : a.at < b.at ? -1 : 1));
  return { records: inOrder.slice(-Math.min(limit, inOrder.length || 1)), unreadable };
}

function matches(record: AuditRecord, { profile, secret, event, since }: AuditFilter): boolean {
  if (record.event === "open") return false;
  if (profile !== undefined && record.profile !== profile) return false;
  if (event !== undefined && record.event !== event) return false;
  if (since !== undefined && !(Date.parse(record.at) >= since)) return false;
  return secret === undefined || isAbout(record, secret);
}

/** Why something failed is told in words only. */
function isAbout(record: AuditRecord, secret: string): boolean {
  if (secretsOf(record).some(({ name, from }) => name === secret || from === secret)) return true;
  // The steps of a rotation name the document.
  const { target } = record;
  if (typeof target === "string" && (secret === target || secret.startsWith(`${target}#`))) return true;
  const words = typeof record.reason === "string" ? record.reason.split(/[\s;,]+/) : [];
  return words.some((word) => word === secret || word === `${secret}:`);
}

/** The secrets of a record, as far as they are some. */
export function secretsOf({ secrets }: AuditRecord): readonly Partial<AuditedSecret>[] {
  if (!Array.isArray(secrets)) return [];
  return secrets.filter((secret) => typeof secret === "object" && secret !== null);
}

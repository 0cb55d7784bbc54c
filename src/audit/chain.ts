/**
 * Lines that hold each other: every one ends with the SHA-256 of its own bytes up to there, and holds that of the
 * line before. So no line can be changed, removed, added or moved without all that follow it being made anew; and
 * who made them anew is found out by anchors that were kept elsewhere.
 */
import { createHash } from "node:crypto";
import type { AuditRecord } from "./record.ts";

/** What stands before the first line of a file. */
export const NOTHING_BEFORE = "0".repeat(64);

export interface Sealed {
  /** With its newline. */
  readonly line: string;
  readonly hash: string;
}

/** @param prev the hash of the line before */
export function sealed(fields: Omit<AuditRecord, "prev" | "hash">, prev: string): Sealed {
  const text = JSON.stringify({ ...fields, prev }).slice(0, -1);
  const hash = digest(text);
  return { line: `${text},"hash":"${hash}"}\n`, hash };
}

export interface SealedRecord {
  readonly record: AuditRecord;
  readonly prev: string;
  /** As it is written there. */
  readonly hash: string;
  /** False if the line is another than the one that was sealed. */
  readonly isIntact: boolean;
}

/** `,"hash":"…"}` */
const SEAL_BYTES = 75;
const SEAL = /^,"hash":"([0-9a-f]{64})"\}$/;

/** @param line without its newline; undefined for what was never a record */
export function readSealed(line: Buffer): SealedRecord | undefined {
  const body = line.subarray(0, -SEAL_BYTES);
  const [, hash] = SEAL.exec(line.subarray(-SEAL_BYTES).toString("latin1")) ?? [];
  const record = parsed(line.toString("utf8"));
  if (hash === undefined || record === undefined) return undefined;
  return { record, prev: String(record.prev), hash, isIntact: digest(body) === hash };
}

function parsed(text: string): AuditRecord | undefined {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch {
    // Cut off, or somebody else's.
    return undefined;
  }
  if (typeof record !== "object" || record === null) return undefined;
  const { seq, at, event } = record as Partial<AuditRecord>;
  const isRecord = Number.isSafeInteger(seq) && typeof at === "string" && typeof event === "string";
  return isRecord ? (record as AuditRecord) : undefined;
}

function digest(content: string | Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

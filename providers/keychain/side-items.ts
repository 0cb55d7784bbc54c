/**
 * What mcp-run keeps in the keychain besides the values themselves, each as an item of a service of its own, with
 * the path of the entry as its account. No ref leads there: a service that begins with `mcp-run ` is refused.
 * Where a name ends in «value» the item holds a secret.
 */
import { ProviderError } from "../../src/errors.ts";
import type { CandidateMark } from "../../src/secrets/provider.ts";
import type { HelperItem } from "./protocol.ts";

/** Of every entry that mcp-run has written: when. */
export const NOTES = "mcp-run entries";

const SERVICES = {
  note: NOTES,
  /** Whose candidate there is; without it there is none. */
  mark: "mcp-run candidate",
  candidate: "mcp-run candidate value",
  /** The value before the last promotion or restoration. */
  previous: "mcp-run previous value",
  /** The last promotion, so that it can be asked for again. */
  promoted: "mcp-run promotion",
} as const;

/** The random key of all version names: one for the whole keychain. */
export const VERSION_KEY: HelperItem = { service: "mcp-run key", account: "versions" };

export type Slot = "value" | "key" | keyof typeof SERVICES;

/** The item that a slot of the entry is kept in. */
export function itemOf(slot: Slot, entry: HelperItem, path: string): HelperItem {
  if (slot === "key") return VERSION_KEY;
  return slot === "value" ? entry : { service: SERVICES[slot], account: path };
}

/** True for a name that one of our own items could have, also as Windows joins it: `ACCOUNT.SERVICE`. */
export function isReserved(service: string): boolean {
  return /(^|\.)mcp-run /.test(service);
}

export interface Promotion {
  readonly rotationId: string;
  readonly version: string;
}

export function writeMark({ rotationId, operator, createdAt }: CandidateMark): string {
  return JSON.stringify({ rotationId, operator, createdAt: createdAt.toISOString() });
}

/** Throws ProviderError `invalid` for what mcp-run has not written. */
export function readMark(text: string, path: string): CandidateMark {
  const { rotationId, operator, createdAt } = parsed(text);
  const at = new Date(String(createdAt));
  if (typeof rotationId === "string" && typeof operator === "string" && !Number.isNaN(at.getTime())) {
    return { rotationId, operator, createdAt: at };
  }
  throw new ProviderError("invalid", "the keychain's note of a candidate is damaged", {
    hint: `deleting the item "${SERVICES.mark}" of the account "${path}" in the keychain's own application`,
  });
}

export function writePromotion(promotion: Promotion): string {
  return JSON.stringify(promotion);
}

/** A damaged one is none: what was promoted is then looked for by its value alone. */
export function readPromotion(text: string): Promotion | undefined {
  const { rotationId, version } = parsed(text);
  return typeof rotationId === "string" && typeof version === "string" ? { rotationId, version } : undefined;
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {}; // Damaged: none of the fields that are looked for is there.
  }
}

/** What the cache keeps of one document, and how it stands in the encrypted file. */
import { canonical } from "./fingerprint.ts";
import type { FetchedSecret, RefRequest } from "./provider.ts";
import { Secret } from "./secret.ts";

const FORMAT = "mcp-run cache";
const FORMAT_VERSION = 1;
/** Ms that a document may seem to come from the future: clocks are put right by small steps. */
const CLOCK_STEP_MS = 5 * 60_000;

/** Whose document it is: a changed profile never gets one of another backend. */
export interface BackendIdentity {
  /** The provider's type. */
  readonly type: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface KeptDocument {
  /** See keyOf. */
  readonly key: string;
  /** Variables that took part in choosing the backend, with their values at the time. */
  readonly environment: Readonly<Record<string, string | null>>;
  /** Ms since the epoch: when the backend gave it. */
  readonly fetchedAt: number;
  /** Undefined: the backend did not have it, and the profile can do without. */
  readonly document?: Pick<FetchedSecret, "value" | "version" | "place" | "createdAt" | "expiresAt">;
}

export function keyOf({ type, settings }: BackendIdentity, request: RefRequest): string {
  return canonical([type, settings, request]);
}

/** True if it may still be served, to somebody with this environment. */
export function isServable(
  { environment, fetchedAt, document }: KeptDocument,
  env: Readonly<Record<string, string>>,
  maxAgeMs: number,
  now: number,
): boolean {
  const age = now - fetchedAt;
  if (age >= maxAgeMs || age < -CLOCK_STEP_MS) return false;
  if (document?.expiresAt && document.expiresAt.getTime() <= now) return false;
  return Object.entries(environment).every(([name, value]) => (env[name] ?? null) === value);
}

export function serializeKept(kept: readonly KeptDocument[]): Secret {
  const documents = kept.map(({ document, ...rest }) => ({
    ...rest,
    ...(document && { document: { ...document, value: document.value.reveal() } }),
  }));
  return new Secret(JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, documents }));
}

/** Undefined for anything that is not a cache of this version. */
export function parseKept(text: Secret): readonly KeptDocument[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.reveal());
  } catch {
    // The parser's own message would quote it.
    return undefined;
  }
  if (!isRecord(parsed) || parsed.format !== FORMAT || parsed.version !== FORMAT_VERSION) return undefined;
  if (!Array.isArray(parsed.documents)) return undefined;
  const kept = parsed.documents.map(keptFrom);
  return kept.every((one) => one !== undefined) ? kept : undefined;
}

function keptFrom(value: unknown): KeptDocument | undefined {
  if (!isRecord(value)) return undefined;
  const { key, environment, fetchedAt, document } = value;
  if (typeof key !== "string" || typeof fetchedAt !== "number" || !isRecord(environment)) return undefined;
  const common = { key, fetchedAt, environment: environment as KeptDocument["environment"] };
  if (document === undefined) return common;
  if (!isRecord(document) || typeof document.value !== "string") return undefined;
  const { version, place, createdAt, expiresAt } = document;
  return {
    ...common,
    document: {
      value: new Secret(document.value),
      ...(typeof version === "string" && { version }),
      ...(typeof place === "string" && { place }),
      ...(typeof createdAt === "string" && { createdAt: new Date(createdAt) }),
      ...(typeof expiresAt === "string" && { expiresAt: new Date(expiresAt) }),
    },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

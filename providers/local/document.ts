/**
 * What stands inside the encrypted file: one JSON document of all entries, each with its last versions.
 * `version` is the format's number; a newer one is refused. Keys that this version does not know are kept
 * as they are, so that a later one can add to entries without a new number.
 * A document is never changed in place, and no error holds any of its text but entry names.
 */
import { randomBytes } from "node:crypto";
import { ProviderError } from "../../src/errors.ts";

const KEPT_VERSIONS = 5;
/** The size of one value in UTF-8, and of the whole document. */
const MAX_VALUE_BYTES = 2 ** 20;
export const MAX_DOCUMENT_BYTES = 16 * 2 ** 20;

const FORMAT = "mcp-run store";
const FORMAT_VERSION = 1;

export interface StoredVersion {
  /** Random, so that it is never given twice, not even after an entry or the whole file was put back. */
  readonly id: string;
  readonly value: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** The rotation that has made it current, which may ask again after a crash. */
  readonly promotedBy?: string;
}

/** What a rotation has put beside an entry; nobody reads it who asks for the entry. */
export interface StoredCandidate {
  readonly rotationId: string;
  readonly operator: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly version: StoredVersion;
}

export interface Entry {
  /** The id of the version that a ref without `version:` means. */
  readonly current: string;
  /** Oldest first, at most KEPT_VERSIONS. */
  readonly versions: readonly StoredVersion[];
}

export interface StoreDocument {
  readonly format: typeof FORMAT;
  readonly version: typeof FORMAT_VERSION;
  /** Without a prototype, so that any name is just a name. */
  readonly entries: Readonly<Record<string, Entry>>;
  /** By the entry's name; the entry itself may not be there yet. Without a prototype too. */
  readonly candidates?: Readonly<Record<string, StoredCandidate>>;
}

export function emptyDocument(): StoreDocument {
  return { format: FORMAT, version: FORMAT_VERSION, entries: Object.create(null) };
}

/** Throws ProviderError `invalid` if the text is not a document of ours, or of a newer format. */
export function parseDocument(text: string): StoreDocument {
  const document = parseJson(text);
  if (!isRecord(document) || document.format !== FORMAT) throw foreign("it holds something else");
  if (document.version !== FORMAT_VERSION) {
    throw new ProviderError(
      "invalid",
      `it has the format ${Number(document.version)}, and this mcp-run knows up to ${FORMAT_VERSION}`,
      { hint: "a newer mcp-run" },
    );
  }
  if (!isRecord(document.entries)) throw foreign("it has no entries");
  for (const [name, entry] of Object.entries(document.entries)) {
    if (!isEntry(entry)) throw foreign(`its entry ${JSON.stringify(name)} is malformed`);
  }
  const candidates = document.candidates ?? {};
  if (!isRecord(candidates)) throw foreign("its candidates are malformed");
  for (const [name, candidate] of Object.entries(candidates)) {
    if (!isCandidate(candidate)) throw foreign(`its candidate of ${JSON.stringify(name)} is malformed`);
  }
  return {
    ...document,
    entries: withoutPrototype(document.entries),
    ...(document.candidates !== undefined && { candidates: withoutPrototype(candidates) }),
  } as unknown as StoreDocument;
}

/** Throws ProviderError `invalid` if the document has become too large. */
export function serializeDocument(document: StoreDocument): Buffer {
  const bytes = Buffer.from(JSON.stringify(document));
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw new ProviderError(
      "invalid",
      `the store would have ${bytes.length} bytes, more than the ${MAX_DOCUMENT_BYTES} that it may have`,
      { hint: "removing entries that are no longer used" },
    );
  }
  return bytes;
}

export function entryOf(document: StoreDocument, name: string): Entry | undefined {
  return document.entries[name];
}

export function currentVersion(entry: Entry): StoredVersion | undefined {
  return entry.versions.find(({ id }) => id === entry.current);
}

export function versionOf(document: StoreDocument, name: string, id: string): StoredVersion | undefined {
  return entryOf(document, name)?.versions.find((version) => version.id === id);
}

/** Adds a version and makes it current; the oldest one beyond KEPT_VERSIONS is dropped. */
export function withVersion(document: StoreDocument, name: string, version: StoredVersion): StoreDocument {
  const entry = entryOf(document, name);
  const versions = [...(entry?.versions ?? []), version].slice(-KEPT_VERSIONS);
  return withEntries(document, { ...document.entries, [name]: { ...entry, current: version.id, versions } });
}

export function withoutEntry(document: StoreDocument, name: string): StoreDocument {
  const { [name]: _removed, ...others } = document.entries;
  return withEntries(document, others);
}

/** Drops the earlier versions that `isDropped` is true for, never the current one. */
export function withoutVersions(
  document: StoreDocument,
  name: string,
  isDropped: (version: StoredVersion) => boolean,
): StoreDocument {
  const entry = entryOf(document, name);
  if (!entry) return document;
  const versions = entry.versions.filter((version) => version.id === entry.current || !isDropped(version));
  return withEntries(document, { ...document.entries, [name]: { ...entry, versions } });
}

export function withCandidate(
  document: StoreDocument,
  name: string,
  candidate: StoredCandidate,
): StoreDocument {
  return { ...document, candidates: withoutPrototype({ ...document.candidates, [name]: candidate }) };
}

export function withoutCandidate(document: StoreDocument, name: string): StoreDocument {
  const { [name]: _removed, ...others } = document.candidates ?? {};
  const { candidates: _all, ...rest } = document;
  return Object.keys(others).length === 0 ? rest : { ...rest, candidates: withoutPrototype(others) };
}

/**
 * A version of this value, as of `now` (ms since the epoch). Throws ProviderError `invalid` for a value that is
 * too long or holds a lone surrogate, which neither UTF-8 nor an environment can carry.
 */
export function newVersion(value: string, now: number): StoredVersion {
  if (/\p{Surrogate}/u.test(value)) {
    throw new ProviderError(
      "invalid",
      "the value holds half of a surrogate pair, which is not valid Unicode",
    );
  }
  const length = Buffer.byteLength(value);
  if (length > MAX_VALUE_BYTES) {
    throw new ProviderError(
      "invalid",
      `the value has ${length} bytes, more than the ${MAX_VALUE_BYTES} that an entry may have`,
    );
  }
  return { id: `v${randomBytes(8).toString("hex")}`, value, createdAt: new Date(now).toISOString() };
}

function withEntries(document: StoreDocument, entries: Readonly<Record<string, Entry>>): StoreDocument {
  return { ...document, entries: withoutPrototype(entries) };
}

function withoutPrototype<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.setPrototypeOf({ ...record }, null);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw foreign("it holds no JSON"); // The parser's own message quotes the text.
  }
}

function isEntry(value: unknown): value is Entry {
  return (
    isRecord(value) &&
    typeof value.current === "string" &&
    Array.isArray(value.versions) &&
    value.versions.every(isVersion) &&
    value.versions.some(({ id }) => id === value.current)
  );
}

function isVersion(value: unknown): value is StoredVersion {
  return (
    isRecord(value) &&
    typeof value.id === "string" &&
    typeof value.value === "string" &&
    typeof value.createdAt === "string" &&
    !Number.isNaN(Date.parse(value.createdAt))
  );
}

function isCandidate(value: unknown): value is StoredCandidate {
  return (
    isRecord(value) &&
    typeof value.rotationId === "string" &&
    typeof value.operator === "string" &&
    typeof value.createdAt === "string" &&
    !Number.isNaN(Date.parse(value.createdAt)) &&
    isVersion(value.version)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function foreign(what: string): ProviderError {
  return new ProviderError("invalid", `it is no store of mcp-run: ${what}`);
}

/**
 * The steps of a rotation, each as the next document. They run under the write lock, so each is done or not:
 * a candidate lies beside its entry in the same encrypted file, and promoting it is one replacement of that file.
 */
import { ProviderError } from "../../src/errors.ts";
import {
  type Candidate,
  type CandidateMark,
  changedMeanwhile,
  heldByAnother,
} from "../../src/secrets/provider.ts";
import {
  currentVersion,
  entryOf,
  type StoreDocument,
  type StoredCandidate,
  type StoredVersion,
  versionOf,
  withCandidate,
  withoutCandidate,
  withoutVersions,
  withVersion,
} from "./document.ts";

export interface Step<T> {
  /** Without it nothing is written. */
  readonly document?: StoreDocument;
  readonly result: T;
}

export function findCandidate(document: StoreDocument, name: string): Candidate | undefined {
  const candidate = document.candidates?.[name];
  return candidate && asCandidate(candidate);
}

/** This rotation's candidate, or none. Throws ProviderError `conflict` if it is another's. */
export function candidateOf(
  document: StoreDocument,
  name: string,
  rotationId: string,
): StoredCandidate | undefined {
  const candidate = document.candidates?.[name];
  if (candidate && candidate.rotationId !== rotationId) throw heldByAnother(asCandidate(candidate));
  return candidate;
}

export function putCandidate(
  document: StoreDocument,
  name: string,
  version: StoredVersion,
  mark: CandidateMark,
): Step<Candidate> {
  const present = candidateOf(document, name, mark.rotationId);
  if (present) {
    if (present.version.value === version.value) return { result: asCandidate(present) };
    throw new ProviderError(
      "conflict",
      `rotation ${mark.rotationId} has put another value as its candidate already`,
      { hint: "discarding that one first" },
    );
  }
  const { rotationId, operator } = mark;
  const candidate = { rotationId, operator, createdAt: mark.createdAt.toISOString(), version };
  return { document: withCandidate(document, name, candidate), result: asCandidate(candidate) };
}

export function promote(
  document: StoreDocument,
  name: string,
  rotationId: string,
  planned: string | undefined,
): Step<{ readonly version: string }> {
  const candidate = candidateOf(document, name, rotationId);
  const entry = entryOf(document, name);
  const live = entry && currentVersion(entry);
  if (!candidate) {
    if (live?.promotedBy === rotationId) return { result: { version: live.id } };
    throw noCandidate(name, rotationId);
  }
  expectCurrent(document, name, planned);
  const version = { ...candidate.version, promotedBy: rotationId };
  return {
    document: withVersion(withoutCandidate(document, name), name, version),
    result: { version: version.id },
  };
}

export function discard(document: StoreDocument, name: string, rotationId: string): Step<boolean> {
  if (!candidateOf(document, name, rotationId)) return { result: false };
  return { document: withoutCandidate(document, name), result: true };
}

/** @param asNew makes a version of the value, of now */
export function restore(
  document: StoreDocument,
  name: string,
  from: string,
  planned: string,
  asNew: (value: string) => StoredVersion,
): Step<{ readonly version: string }> {
  expectCurrent(document, name, planned);
  const earlier = versionOf(document, name, from);
  if (!earlier) throw new ProviderError("missing", `${name} has no version "${from}" to go back to`);
  const version = asNew(earlier.value);
  return { document: withVersion(document, name, version), result: { version: version.id } };
}

/** Takes every earlier version of the same value away: a restored key is there twice. */
export function retire(document: StoreDocument, name: string, id: string): Step<boolean> {
  if (entryOf(document, name)?.current === id) {
    throw new ProviderError("invalid", `${id} is the current version of ${name}`, {
      hint: "another value as the current one first",
    });
  }
  const retired = versionOf(document, name, id);
  if (!retired) return { result: false };
  return {
    document: withoutVersions(document, name, ({ value }) => value === retired.value),
    result: true,
  };
}

export function noCandidate(name: string, rotationId: string): ProviderError {
  return new ProviderError("missing", `${name} has no candidate of rotation ${rotationId}`);
}

/** Throws ProviderError `conflict` if the current version is another one, or there is none where one was planned. */
export function expectCurrent(document: StoreDocument, name: string, planned: string | undefined): void {
  const current = entryOf(document, name)?.current;
  if (current !== planned) throw changedMeanwhile(current, planned);
}

function asCandidate({ rotationId, operator, createdAt, version }: StoredCandidate): Candidate {
  return { rotationId, operator, createdAt: new Date(createdAt), version: version.id };
}

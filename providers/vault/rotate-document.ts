/**
 * The writable side of a rotation on KV version 2. KV keeps no version that is not current, so the candidate lies at a
 * path of its own beside the secret, with the mark in it; check-and-set decides who was first. What has been promoted
 * is noted in the secret's custom metadata, so that a promotion that was broken off can tell what is left to do.
 */
import { isDeepStrictEqual } from "node:util";
import { ProviderError } from "../../src/errors.ts";
import {
  type Candidate,
  type CandidateMark,
  changedMeanwhile,
  type FetchedSecret,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { change, type Place, readMetadata, readVersion, writeVersion } from "./engine.ts";
import { isRecord } from "./exchange.ts";
import { goneError } from "./kv2.ts";
import { sidePath } from "./path.ts";
import { type Reader, withoutVersions } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";
import { casFor, fieldsOf, kvPlace, removeDocument } from "./write-document.ts";

/** In the custom metadata of a secret: `ROTATION VERSION` of the last promotion. */
const PROMOTED = "mcp-run-promoted";

type Fields = Readonly<Record<string, unknown>>;

/** What lies at the side path. */
interface SideEntry {
  readonly mark: CandidateMark;
  readonly data: Fields;
}

export async function findCandidate(
  reader: Reader,
  ref: VaultRef,
  signal: AbortSignal,
): Promise<Candidate | undefined> {
  return (await readSide(reader, await rotatablePlace(reader, ref, signal), signal)).entry?.mark;
}

export async function putCandidate(
  reader: Reader,
  ref: VaultRef,
  value: Secret,
  mark: CandidateMark,
  signal: AbortSignal,
): Promise<Candidate> {
  const data = fieldsOf(value);
  const place = await rotatablePlace(reader, ref, signal);
  for (let attempt = 0; ; attempt++) {
    const { entry, cas } = await readSide(reader, place, signal);
    if (entry) {
      ownedBy(entry, mark.rotationId);
      if (isDeepStrictEqual(entry.data, data)) return entry.mark;
      throw new ProviderError("conflict", `rotation ${mark.rotationId} has put another value there`, {
        hint: "discarding that candidate first",
      });
    }
    const { rotationId, operator, createdAt } = mark;
    try {
      const side = { rotationId, operator, createdAt: createdAt.toISOString(), data };
      await writeVersion(reader.session, besidePlace(place), side, cas, signal);
      return mark;
    } catch (error) {
      // Somebody else was faster: the second look says who.
      if (attempt > 0 || !isConflict(error)) throw error;
    }
  }
}

export async function fetchCandidate(
  reader: Reader,
  ref: VaultRef,
  rotationId: string,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  const { entry } = await readSide(reader, await rotatablePlace(reader, ref, signal), signal);
  if (!entry) throw noCandidate();
  ownedBy(entry, rotationId);
  return { value: new Secret(JSON.stringify(entry.data)), createdAt: entry.mark.createdAt };
}

/**
 * In this order, so that a second call after a crash at any point can tell what is left: write the new version, note
 * whose it is, take the candidate away.
 */
export async function promote(
  reader: Reader,
  ref: VaultRef,
  rotationId: string,
  planned: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly version: string }> {
  const place = await rotatablePlace(reader, ref, signal);
  const { entry } = await readSide(reader, place, signal);
  if (!entry) return { version: await promotedBefore(reader, place, rotationId, signal) };
  ownedBy(entry, rotationId);
  const version = await writeOnce(reader, place, entry.data, planned, signal);
  await note(reader, place, `${rotationId} ${version}`, signal);
  await dropSide(reader, place, signal);
  return { version: String(version) };
}

export async function discard(
  reader: Reader,
  ref: VaultRef,
  rotationId: string,
  signal: AbortSignal,
): Promise<boolean> {
  const place = await rotatablePlace(reader, ref, signal);
  const { entry } = await readSide(reader, place, signal);
  if (!entry) return false;
  ownedBy(entry, rotationId);
  await dropSide(reader, place, signal);
  return true;
}

export async function restore(
  reader: Reader,
  ref: VaultRef,
  version: string,
  planned: string,
  signal: AbortSignal,
): Promise<{ readonly version: string }> {
  const place = await rotatablePlace(reader, ref, signal);
  const earlier = await readVersion(reader.session, place, version, signal);
  if (!earlier) throw new ProviderError("missing", `there is no version ${version} of it (404)`);
  if (earlier.type === "gone") throw goneError(earlier, place.rest, place.mount.path.replace(/\/$/, ""));
  const cas = await casFor(reader, place, planned, signal);
  return { version: String(await writeVersion(reader.session, place, earlier.data, cas, signal)) };
}

export async function retire(
  reader: Reader,
  ref: VaultRef,
  version: string,
  signal: AbortSignal,
): Promise<boolean> {
  const place = await rotatablePlace(reader, ref, signal);
  const metadata = await readMetadata(reader.session, place, reader.now(), signal);
  const number = Number(version);
  if (metadata?.current === number && metadata.isCurrentLive) {
    throw new ProviderError("invalid", `version ${version} is the current one, which is never retired`, {
      hint: "promoting another value first",
    });
  }
  const state = metadata?.versions.get(number);
  if (!state || state.isDestroyed) return false;
  await destroy(reader, place, number, signal);
  return true;
}

/** With its metadata where nothing else is left in it; else what was deleted before can still be brought back. */
export async function takeAway(
  reader: Reader,
  ref: VaultRef,
  version: string,
  signal: AbortSignal,
): Promise<boolean> {
  const place = await rotatablePlace(reader, ref, signal);
  const metadata = await readMetadata(reader.session, place, reader.now(), signal);
  if (!metadata?.isCurrentLive) return false;
  const number = Number(version);
  if (metadata.current !== number) throw changedMeanwhile(String(metadata.current), version);
  const hasOthers = [...metadata.versions].some(
    ([other, { isDestroyed }]) => other !== number && !isDestroyed,
  );
  if (!hasOthers) return removeDocument(reader, ref, signal);
  await destroy(reader, place, number, signal);
  return true;
}

async function destroy(
  { session }: Reader,
  { mount, rest }: Place,
  number: number,
  signal: AbortSignal,
): Promise<void> {
  await change(session, "write", `${mount.path}destroy/${rest}`, { versions: [number] }, signal);
}

export async function rotatablePlace(reader: Reader, ref: VaultRef, signal: AbortSignal): Promise<Place> {
  const { version, ...place } = await kvPlace(reader, ref, signal);
  if (version === 1) throw withoutVersions(place.mount.path);
  return place;
}

/** The candidate beside a secret, and what check-and-set has to be given to put one where there is none. */
export async function readSide(
  { session }: Reader,
  place: Place,
  signal: AbortSignal,
): Promise<{ readonly entry?: SideEntry; readonly cas: number }> {
  const found = await readVersion(session, besidePlace(place), undefined, signal);
  if (found?.type !== "live") return { cas: found?.number ?? 0 };
  const { rotationId, operator, createdAt, data } = found.data;
  const created = new Date(typeof createdAt === "string" ? createdAt : Number.NaN);
  const isWhole = typeof rotationId === "string" && typeof operator === "string" && isRecord(data);
  if (!isWhole || Number.isNaN(created.getTime())) {
    throw new ProviderError("invalid", `what lies at ${sidePath(place.rest)} is no candidate of ours`, {
      hint: `a look at it, and \`vault kv metadata delete -mount=${place.mount.path.slice(0, -1)} ${sidePath(place.rest)}\``,
    });
  }
  return { entry: { mark: { rotationId, operator, createdAt: created }, data }, cas: found.number };
}

export function besidePlace({ mount, rest }: Place): Place {
  return { mount, rest: sidePath(rest) };
}

/**
 * With every version and its value. KV has check-and-set for writes alone («KV version 2 API», `cas`): a candidate that
 * takes this one over between our look and this request goes as well, and its rotation is told that it is missing. To
 * destroy one version by its number would spare it, and leave an empty path behind for each secret for ever.
 */
function dropSide({ session }: Reader, { mount, rest }: Place, signal: AbortSignal): Promise<void> {
  return change(session, "delete", `${mount.path}metadata/${sidePath(rest)}`, undefined, signal);
}

/** Writes the candidate over the planned version, unless an earlier call has done so; returns the new version. */
async function writeOnce(
  reader: Reader,
  place: Place,
  data: Fields,
  planned: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  try {
    const cas = await casFor(reader, place, planned, signal);
    return await writeVersion(reader.session, place, data, cas, signal);
  } catch (error) {
    if (!isConflict(error)) throw error;
    const current = await readVersion(reader.session, place, undefined, signal);
    const isAfterPlanned = current !== undefined && current.number > Number(planned ?? 0);
    if (current?.type === "live" && isAfterPlanned && isDeepStrictEqual(current.data, data))
      return current.number;
    throw error;
  }
}

/** Other custom metadata stays. Without the right to write it, only a call after the last step is the poorer for it. */
async function note(
  { session, now }: Reader,
  place: Place,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const custom = (await readMetadata(session, place, now(), signal))?.custom;
    const path = `${place.mount.path}metadata/${place.rest}`;
    await change(session, "write", path, { custom_metadata: { ...custom, [PROMOTED]: text } }, signal);
  } catch (error) {
    if (!(error instanceof ProviderError) || error.failure === "unavailable") throw error;
  }
}

/** The version that this rotation has promoted, if it is still the current one. Throws ProviderError. */
async function promotedBefore(
  { session, now }: Reader,
  place: Place,
  rotationId: string,
  signal: AbortSignal,
): Promise<string> {
  const metadata = await readMetadata(session, place, now(), signal);
  const noted = metadata?.custom[PROMOTED];
  const [, by, version] = /^(.*) (\d+)$/s.exec(String(noted)) ?? [];
  if (by !== rotationId || version === undefined) throw noCandidate();
  if (Number(version) === metadata?.current) return version;
  throw new ProviderError(
    "conflict",
    `it was promoted as version ${version}, and another one is current now`,
  );
}

function ownedBy({ mark }: SideEntry, rotationId: string): void {
  if (mark.rotationId === rotationId) return;
  throw new ProviderError(
    "conflict",
    `rotation ${mark.rotationId} by ${mark.operator} has a candidate there since ${mark.createdAt.toISOString()}`,
    { hint: "asking whether that rotation is still under way" },
  );
}

function noCandidate(): ProviderError {
  return new ProviderError("missing", "there is no candidate of a rotation beside it");
}

function isConflict(error: unknown): boolean {
  return error instanceof ProviderError && error.failure === "conflict";
}

/** The change check: what `fetch` would call the version that it would give, without the value. */
import { ProviderError } from "../../src/errors.ts";
import type { FetchedSecret } from "../../src/secrets/provider.ts";
import { type Place, placeIn, readMetadata, readVersion } from "./engine.ts";
import type { Reader } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";

/** Undefined for a secret that is not there, and for an engine without versions. Throws ProviderError. */
export async function currentVersion(
  reader: Reader,
  ref: VaultRef,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await peekVersion(reader, ref, signal);
  } catch (error) {
    // A policy that covers data/ and not metadata/ is common: then the value comes along.
    if (error instanceof ProviderError && error.failure === "denied") return byReading(reader, ref, signal);
    throw error;
  }
}

/**
 * By the metadata alone: no value leaves the server, and its log shows no reader of one. Versions are counted anew
 * after `vault kv metadata delete`: only with the same date is it the same one. Throws ProviderError.
 */
export async function peekVersion(
  reader: Reader,
  { path, version: pinned }: VaultRef,
  signal: AbortSignal,
  before?: Pick<FetchedSecret, "createdAt">,
): Promise<string | undefined> {
  const place = await versionedPlace(reader, path, signal);
  const metadata = place && (await readMetadata(reader.session, place, reader.now(), signal));
  const number = pinned === undefined ? metadata?.current : Number(pinned);
  const state = number === undefined ? undefined : metadata?.versions.get(number);
  if (!state?.isLive || (before && before.createdAt?.getTime() !== state.createdAt?.getTime()))
    return undefined;
  return String(number);
}

/** Undefined where nothing has versions. */
async function versionedPlace(reader: Reader, path: string, signal: AbortSignal): Promise<Place | undefined> {
  const mount = await reader.mounts.of(path, signal);
  const place = placeIn(mount, path);
  return (mount.kind === "kv-2" || mount.kind === "unknown") && place.rest !== "" ? place : undefined;
}

async function byReading(
  reader: Reader,
  { path, version }: VaultRef,
  signal: AbortSignal,
): Promise<string | undefined> {
  const place = await versionedPlace(reader, path, signal);
  const found = place && (await readVersion(reader.session, place, version, signal));
  return found?.type === "live" ? String(found.number) : undefined;
}

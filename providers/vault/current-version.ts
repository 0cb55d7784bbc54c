/** The change check: what `fetch` would call the version that it would give, without the value. */
import { ProviderError } from "../../src/errors.ts";
import { type Place, placeIn, readMetadata, readVersion } from "./engine.ts";
import type { Reader } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";

/** Undefined for a secret that is not there, and for an engine without versions. Throws ProviderError. */
export async function currentVersion(
  reader: Reader,
  { path, version: pinned }: VaultRef,
  signal: AbortSignal,
): Promise<string | undefined> {
  const mount = await reader.mounts.of(path, signal);
  const place = placeIn(mount, path);
  if ((mount.kind !== "kv-2" && mount.kind !== "unknown") || place.rest === "") return undefined;
  try {
    const metadata = await readMetadata(reader.session, place, reader.now(), signal);
    const number = pinned === undefined ? metadata?.current : Number(pinned);
    if (number === undefined || !metadata?.versions.get(number)?.isLive) return undefined;
    return String(number);
  } catch (error) {
    // A policy that covers data/ and not metadata/ is common: then the value comes along.
    if (error instanceof ProviderError && error.failure === "denied")
      return byReading(reader, place, pinned, signal);
    throw error;
  }
}

async function byReading(
  { session }: Reader,
  place: Place,
  pinned: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const found = await readVersion(session, place, pinned, signal);
  return found?.type === "live" ? String(found.number) : undefined;
}

/** Writes, removes and lists the secrets of KV mounts; every other engine is only read. */
import { ProviderError } from "../../src/errors.ts";
import type { StoredEntry } from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import {
  change,
  isNothing,
  listNames,
  type Place,
  placeIn,
  readMetadata,
  readVersion,
  writeVersion,
} from "./engine.ts";
import { isRecord } from "./exchange.ts";
import { refusalError } from "./failure.ts";
import { inParallel } from "./in-parallel.ts";
import type { Mount } from "./mounts.ts";
import { apiPath, isSegment, isSidePath } from "./path.ts";
import { type Reader, withoutVersions } from "./read-document.ts";
import type { VaultRef } from "./settings.ts";

const MOST_ENTRIES = 10_000;
const FOLDERS_AT_ONCE = 10;

export interface KvPlace extends Place {
  readonly version: 1 | 2;
}

/** Where a ref is written to. Throws ProviderError for what is no KV. */
export async function kvPlace(
  { mounts }: Pick<Reader, "mounts">,
  { path, version }: VaultRef,
  signal: AbortSignal,
): Promise<KvPlace> {
  if (version !== undefined) {
    throw new ProviderError("invalid", "a version that is there can't be changed", {
      hint: "the ref without version:",
    });
  }
  const mount = await mounts.of(path, signal);
  const place = placeIn(mount, path);
  if (place.rest === "") {
    throw new ProviderError("invalid", `${path} is a whole secrets engine, no secret`, {
      hint: `vault:${path}/NAME`,
    });
  }
  return { ...place, version: kvVersion(mount) };
}

/** The fields of a value that is to be written. Throws ProviderError `invalid` if it has none. */
export function fieldsOf(value: Secret): Readonly<Record<string, unknown>> {
  try {
    const fields: unknown = JSON.parse(value.reveal());
    if (isRecord(fields)) return fields;
  } catch {
    // The parser's own words quote the value.
  }
  throw new ProviderError("invalid", "a KV store keeps fields, and this value is not a JSON object", {
    hint: "writing one field: the same ref with #key behind it",
  });
}

/** @param onlyIf see SecretStore.put */
export async function putDocument(
  reader: Reader,
  ref: VaultRef,
  value: Secret,
  signal: AbortSignal,
  onlyIf: { readonly version: string | undefined } | undefined,
): Promise<{ readonly version?: string }> {
  const data = fieldsOf(value);
  const place = await kvPlace(reader, ref, signal);
  if (place.version === 1) {
    await putInKv1(reader, place, data, signal, onlyIf);
    return {};
  }
  const cas = onlyIf && (await casFor(reader, place, onlyIf.version, signal));
  return { version: String(await writeVersion(reader.session, place, data, cas, signal)) };
}

/**
 * What check-and-set compares with, for a secret that shall have this current version; for none at all that is the
 * number of the last one that was deleted. Throws ProviderError `conflict`.
 */
export async function casFor(
  { session }: Reader,
  place: Place,
  version: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  if (version !== undefined) return Number(version);
  const found = await readVersion(session, place, undefined, signal);
  if (found?.type !== "live") return found?.number ?? 0;
  throw new ProviderError("conflict", `there is a version ${found.number} of it`, { hint: "again" });
}

/** KV version 1 can't compare and set, so it is looked at before. */
async function putInKv1(
  { session }: Reader,
  { mount, rest }: Place,
  data: object,
  signal: AbortSignal,
  onlyIf: { readonly version: string | undefined } | undefined,
): Promise<void> {
  if (onlyIf?.version !== undefined) throw withoutVersions(mount.path);
  if (onlyIf && (await isInKv1(session, mount, rest, signal))) {
    throw new ProviderError("conflict", "there is such a secret already", { hint: "again" });
  }
  await change(session, "write", mount.path + rest, data, signal);
}

/** With all its versions. */
export async function removeDocument(reader: Reader, ref: VaultRef, signal: AbortSignal): Promise<boolean> {
  const { mount, rest, version } = await kvPlace(reader, ref, signal);
  const { session } = reader;
  const isThere =
    version === 1
      ? await isInKv1(session, mount, rest, signal)
      : (await readMetadata(session, { mount, rest }, reader.now(), signal)) !== undefined;
  if (!isThere) return false;
  const path = version === 1 ? mount.path + rest : `${mount.path}metadata/${rest}`;
  await change(session, "delete", path, undefined, signal);
  return true;
}

/** Everything below the mount, however deep; a deleted secret that could be undeleted too. */
export async function listDocuments(
  reader: Reader,
  mountPath: string,
  signal: AbortSignal,
): Promise<readonly StoredEntry[]> {
  const mount = await reader.mounts.of(mountPath, signal);
  const base = kvVersion(mount) === 2 ? `${mount.path}metadata/` : mount.path;
  const entries: StoredEntry[] = [];
  let folders = [placeIn(mount, `${mountPath}/`).rest];
  while (folders.length > 0) {
    const below: string[] = [];
    await inParallel(FOLDERS_AT_ONCE, folders, async (folder) => {
      for (const name of (await listNames(reader.session, base + folder, signal)) ?? []) {
        const isFolder = name.endsWith("/");
        // A name that no ref can hold can't be read either.
        if (!isSegment(isFolder ? name.slice(0, -1) : name)) continue;
        if (isFolder) below.push(folder + name);
        else if (!isSidePath(name)) entries.push({ path: mount.path + folder + name });
      }
      if (entries.length + below.length > MOST_ENTRIES) {
        throw new ProviderError("invalid", `${mount.path} has more than ${MOST_ENTRIES} entries`, {
          hint: "a folder instead of the whole mount: mount: MOUNT/FOLDER",
        });
      }
    });
    folders = below;
  }
  return entries;
}

async function isInKv1(
  session: Reader["session"],
  mount: Mount,
  rest: string,
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await session.send(
    { does: "read", path: apiPath(mount.path, rest), isRepeatable: true },
    signal,
  );
  if (isNothing(answer)) return false;
  if (answer.status === 200) return true;
  throw refusalError(answer, { path: mount.path + rest, capability: "read" }, session.url);
}

function kvVersion(mount: Mount): 1 | 2 {
  if (mount.kind === "kv-1") return 1;
  // Where the server would not say, a first write to version 1 would be lost in a path of its own.
  if (mount.kind === "kv-2") return 2;
  if (mount.kind === "unknown") {
    throw new ProviderError("denied", `the server does not say what kind of engine ${mount.path} is (403)`, {
      hint: "a policy that lets this token use something in it",
    });
  }
  throw new ProviderError(
    "invalid",
    `${mount.path} is no KV store (${mount.engine}), so nothing can be written`,
    {
      hint: "a path in a KV mount",
    },
  );
}

/** One document for one ref: what KV keeps, or what another engine makes for us, as JSON text. */
import { ProviderError } from "../../src/errors.ts";
import type { FetchedSecret } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { isNothing, type Place, placeIn, readMetadata, readVersion } from "./engine.ts";
import { isRecord } from "./exchange.ts";
import { refusalError, strangeAnswer } from "./failure.ts";
import { goneError } from "./kv2.ts";
import type { Leases } from "./leases.ts";
import type { Mounts } from "./mounts.ts";
import { apiPath } from "./path.ts";
import { errorsIn } from "./retry.ts";
import type { Session } from "./session.ts";
import type { VaultRef } from "./settings.ts";

export interface Reader {
  readonly session: Session;
  readonly mounts: Mounts;
  readonly leases: Leases;
  /** Where what is read at a path of the API lies; see FetchedSecret. */
  readonly placeOf: (path: string) => Pick<FetchedSecret, "place">;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** Throws ProviderError. */
export async function readDocument(
  reader: Reader,
  ref: VaultRef,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  const mount = await reader.mounts.of(ref.path, signal);
  const place = placeIn(mount, ref.path);
  if (place.rest === "") {
    throw new ProviderError("missing", `${ref.path} is a whole secrets engine, no secret`, {
      hint: `vault:${ref.path}/NAME`,
    });
  }
  switch (mount.kind) {
    case "kv-2":
      return fromKv2(reader, place, ref, signal);
    case "kv-1":
      return fromKv1(reader, place, ref, signal);
    case "other":
      return fromEngine(reader, place, ref, signal);
    case "unknown":
      return byTrying(reader, place, ref, signal);
  }
}

async function fromKv2(
  { session, placeOf, now }: Reader,
  place: Place,
  { version }: VaultRef,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  const found = await readVersion(session, place, version, signal);
  if (found?.type === "live") {
    const { number, data, createdAt, expiresAt } = found;
    return {
      value: documentOf(data),
      version: String(number),
      ...placeOf(apiPath(place.mount.path, "data", place.rest)),
      ...(createdAt && { createdAt }),
      ...(expiresAt && { expiresAt }),
    };
  }
  const { mount, rest } = place;
  if (found) throw goneError(found, rest, mountName(place));
  if (version !== undefined) {
    // A policy for reading need not cover this; then less is said.
    const metadata = await readMetadata(session, place, now(), signal).catch((error: unknown) => {
      if (error instanceof ProviderError) return undefined;
      throw error;
    });
    if (metadata) {
      throw new ProviderError("missing", `there is no version ${version} of it (404)`, {
        hint: `one of the versions ${[...metadata.versions.keys()].join(", ")}`,
      });
    }
  }
  const isApiPath = rest.startsWith("data/");
  throw new ProviderError("missing", `there is no secret ${rest} in ${mount.path} (404)`, {
    hint: isApiPath
      ? `vault:${mount.path}${rest.slice("data/".length)}, since "data/" belongs to the API and not to the path`
      : `\`vault kv list ${mount.path}\` for those that are there`,
  });
}

async function fromKv1(
  { session, placeOf }: Reader,
  { mount, rest }: Place,
  { version }: VaultRef,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  if (version !== undefined) throw withoutVersions(mount.path);
  const path = apiPath(mount.path, rest);
  const answer = await session.send({ does: "read", path, isRepeatable: true }, signal);
  if (answer.status === 200 && isRecord(answer.json?.data)) {
    return { value: documentOf(answer.json.data), ...placeOf(path) };
  }
  if (answer.status === 200) throw strangeAnswer(answer, session.url);
  if (!isNothing(answer)) {
    throw refusalError(answer, { path: mount.path + rest, capability: "read" }, session.url);
  }
  throw new ProviderError("missing", `there is no secret ${rest} in ${mount.path} (404)`, {
    hint: `\`vault kv list ${mount.path}\` for those that are there`,
  });
}

/** Each read may make a new account somewhere, so it is never sent twice by itself. */
async function fromEngine(
  { session, leases, placeOf }: Reader,
  { mount, rest }: Place,
  { version }: VaultRef,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  if (version !== undefined) {
    throw new ProviderError("invalid", `${mount.path} is no KV store, so its secrets have no versions`, {
      hint: "the ref without version:",
    });
  }
  const path = apiPath(mount.path, rest);
  const { answer, token } = await session.sendAs({ does: "read", path }, signal);
  if (answer.status === 200 && isRecord(answer.json?.data)) {
    const lease = leases.take(answer, token);
    return { value: documentOf(answer.json.data), ...placeOf(path), ...(lease && { lease }) };
  }
  if (answer.status === 204 || (answer.status === 200 && answer.json)) {
    throw new ProviderError("invalid", `${mount.path}${rest} answers without a value (${answer.status})`, {
      hint: "a path that holds a value; PKI is not supported",
    });
  }
  if (answer.status === 200) throw strangeAnswer(answer, session.url);
  const says = (words: RegExp) => errorsIn(answer.json).some((text) => words.test(text));
  if (isNothing(answer) || (answer.status < 500 && says(/role .*not found|unknown role|unsupported path/i))) {
    throw new ProviderError("missing", `the engine at ${mount.path} has no ${rest} (${answer.status})`, {
      hint: "another role, or `vault path-help` for what the engine can do",
    });
  }
  throw refusalError(answer, { path: mount.path + rest, capability: "read" }, session.url);
}

/** The server did not say what the mount is: KV version 2, else whatever answers a plain read. */
async function byTrying(
  reader: Reader,
  place: Place,
  ref: VaultRef,
  signal: AbortSignal,
): Promise<FetchedSecret> {
  const { mounts } = reader;
  const refusals: ProviderError[] = [];
  for (const attempt of [fromKv2, fromEngine]) {
    try {
      const found = await attempt(reader, place, ref, signal);
      if (attempt === fromKv2) mounts.correct(place.mount, "kv-2");
      return found;
    } catch (error) {
      if (!(error instanceof ProviderError) || error.failure === "unavailable") throw error;
      refusals.push(error);
    }
  }
  // Of the two answers the one that is nearer to what the user meant.
  throw refusals.find(({ failure }) => failure === "denied") ?? (refusals[0] as ProviderError);
}

/** As text; an answer may be nested deeper than can be written again. */
function documentOf(data: object): Secret {
  try {
    return new Secret(JSON.stringify(data));
  } catch {
    throw new ProviderError("invalid", "the secret is nested too deep");
  }
}

export function withoutVersions(mount: string): ProviderError {
  return new ProviderError("invalid", `${mount} is KV version 1, which has no versions`, {
    hint: `\`vault kv enable-versioning ${mount}\``,
  });
}

function mountName({ mount }: Place): string {
  return mount.path.replace(/\/$/, "");
}

/** The requests that the engines understand: KV in both versions, and a plain read for every other one. */
import { ProviderError } from "../../src/errors.ts";
import type { Answer } from "./exchange.ts";
import { type Asked, refusalError, strangeAnswer } from "./failure.ts";
import { type Metadata, metadataIn, type Version, versionIn } from "./kv2.ts";
import type { Mount } from "./mounts.ts";
import { apiPath } from "./path.ts";
import { errorsIn } from "./retry.ts";
import type { Session } from "./session.ts";

/** A secret's place: its mount and the rest of its path. */
export interface Place {
  readonly mount: Mount;
  readonly rest: string;
}

export function placeIn(mount: Mount, path: string): Place {
  return { mount, rest: path.slice(mount.path.length) };
}

/** The version asked for, or the current one; undefined if there is none. Throws ProviderError. */
export async function readVersion(
  session: Session,
  { mount, rest }: Place,
  version: string | number | undefined,
  signal: AbortSignal,
): Promise<Version | undefined> {
  const answer = await session.send(
    {
      does: "read",
      path: apiPath(mount.path, "data", rest),
      ...(version !== undefined && { query: `version=${version}` }),
      isRepeatable: true,
    },
    signal,
  );
  if (isNothing(answer)) return undefined;
  const found = answer.status === 200 || answer.status === 404 ? versionIn(answer) : undefined;
  if (found) return found;
  throw refused(session, answer, { path: `${mount.path}data/${rest}`, capability: "read" });
}

/** What is known of all versions; undefined if there is no such secret. Throws ProviderError. */
export async function readMetadata(
  session: Session,
  { mount, rest }: Place,
  now: number,
  signal: AbortSignal,
): Promise<Metadata | undefined> {
  const answer = await session.send(
    { does: "read", path: apiPath(mount.path, "metadata", rest), isRepeatable: true },
    signal,
  );
  if (isNothing(answer)) return undefined;
  const found = answer.status === 200 ? metadataIn(answer, now) : undefined;
  if (found) return found;
  throw refused(session, answer, { path: `${mount.path}metadata/${rest}`, capability: "read" });
}

/**
 * Writes a new version; `cas` is the current one, 0 for none. Returns the new one's number. Throws ProviderError,
 * `conflict` if another version is current.
 */
export async function writeVersion(
  session: Session,
  { mount, rest }: Place,
  data: object,
  cas: number | undefined,
  signal: AbortSignal,
): Promise<number> {
  const answer = await session.send(
    {
      does: "write",
      path: apiPath(mount.path, "data", rest),
      body: { data, ...(cas !== undefined && { options: { cas } }) },
    },
    signal,
  );
  const version = answer.json?.data;
  if (answer.status === 200 && typeof version === "object" && version !== null && "version" in version) {
    if (typeof version.version === "number") return version.version;
  }
  const says = (words: RegExp) =>
    answer.status === 400 && errorsIn(answer.json).some((text) => words.test(text));
  if (says(/did not match the current version/)) {
    throw new ProviderError("conflict", "somebody else has written it meanwhile (400)", { hint: "again" });
  }
  if (cas === undefined && says(/check-and-set parameter required/)) {
    const current = await readVersion(session, { mount, rest }, undefined, signal);
    return writeVersion(session, { mount, rest }, data, current?.number ?? 0, signal);
  }
  throw refused(session, answer, { path: `${mount.path}data/${rest}`, capability: "write" });
}

/** Any change without an answer that matters. Throws ProviderError. */
export async function change(
  session: Session,
  does: "write" | "delete",
  path: string,
  body: object | undefined,
  signal: AbortSignal,
): Promise<void> {
  const answer = await session.send(
    { does, path: apiPath(path), ...(body !== undefined && { body }) },
    signal,
  );
  if (answer.status === 200 || answer.status === 204) return;
  throw refused(session, answer, { path, capability: does });
}

/** The names at a path, folders with a slash at their end; undefined if there are none. Throws ProviderError. */
export async function listNames(
  session: Session,
  path: string,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const answer = await session.send({ does: "list", path: apiPath(path), isRepeatable: true }, signal);
  if (isNothing(answer)) return undefined;
  const keys =
    answer.status === 200 ? (answer.json?.data as { keys?: unknown } | undefined)?.keys : undefined;
  if (Array.isArray(keys)) return keys.filter((key) => typeof key === "string");
  throw refused(session, answer, { path, capability: "list" });
}

/** 404 with an empty list of errors: the mount is there, and has nothing at this path. */
export function isNothing({ status, json }: Answer): boolean {
  return status === 404 && json !== undefined && !("data" in json) && errorsIn(json).length === 0;
}

function refused(session: Session, answer: Answer, asked: Asked): ProviderError {
  if (answer.status === 200) return strangeAnswer(answer, session.url);
  return refusalError(answer, asked, session.url);
}

/**
 * Writes, removes and lists secrets. An unconditional write is one PutSecretValue; one that hangs on a version puts
 * the value beside it first and then moves AWSCURRENT, which the service refuses if that is elsewhere by now.
 */
import { createHash, randomUUID } from "node:crypto";
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  ListSecretsCommand,
  PutSecretValueCommand,
} from "@aws-sdk/client-secrets-manager";
import { ProviderError } from "../../src/errors.ts";
import type { StoredEntry } from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { isAws } from "./aws-error.ts";
import { isArn } from "./ref.ts";
import type { Session } from "./session.ts";
import { bearersOf, CURRENT, describeSecret, dropLabel, makeCurrent, notAsPlanned } from "./stages.ts";

/** Quotas of Secrets Manager: a value has 1 to 65,536 bytes. */
const MAX_BYTES = 65_536;
/** Borne by a value until it is current: a version without a label may be deleted. */
const NEXT = "mcp-run-next";
const PAGE = 100;
const MOST_PAGES = 100;

/** Throws ProviderError for a value that the service would not take. */
export function checkSize(value: Secret): void {
  const bytes = Buffer.byteLength(value.reveal());
  if (bytes >= 1 && bytes <= MAX_BYTES) return;
  const state = bytes === 0 ? "the value is empty" : `the value has ${bytes} bytes`;
  throw new ProviderError("invalid", `${state}, and AWS keeps 1 to ${MAX_BYTES}`, {
    hint: bytes === 0 ? "a value" : "keeping the large part elsewhere",
  });
}

/** A name for a version that is the same for the same words, in the form of a UUID. */
export function versionIdFor(...words: readonly string[]): string {
  const hex = createHash("sha256").update(words.join("\0")).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    "-",
  );
}

/**
 * PutSecretValue; the version is `token` and bears `stages`, AWSCURRENT if there are none. Answers its labels. With
 * the same token and value it does nothing; with another value it fails with ResourceExistsException.
 */
export async function putVersion(
  session: Session,
  path: string,
  value: Secret,
  token: string,
  stages: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { VersionStages = [] } = await session.repeatable(
    (client, options) =>
      client.send(
        new PutSecretValueCommand({
          SecretId: path,
          ClientRequestToken: token,
          SecretString: value.reveal(),
          ...(stages && { VersionStages: [...stages] }),
        }),
        options,
      ),
    signal,
  );
  return VersionStages;
}

/** CreateSecret, which fails with ResourceExistsException if there is one of that name. */
export async function createSecret(
  session: Session,
  {
    name,
    value,
    token,
    ...more
  }: {
    readonly name: string;
    readonly value: Secret;
    readonly token: string;
    readonly description?: string;
    readonly kmsKeyId?: string | undefined;
  },
  signal: AbortSignal,
): Promise<void> {
  await session.repeatable(
    (client, options) =>
      client.send(
        new CreateSecretCommand({
          Name: name,
          ClientRequestToken: token,
          SecretString: value.reveal(),
          ...(more.description !== undefined && { Description: more.description }),
          ...(more.kmsKeyId !== undefined && { KmsKeyId: more.kmsKeyId }),
        }),
        options,
      ),
    signal,
  );
}

/** Writes whatever is there. Returns the new version. */
export async function overwrite(
  session: Session,
  path: string,
  value: Secret,
  signal: AbortSignal,
): Promise<string> {
  const token = randomUUID();
  try {
    await putVersion(session, path, value, token, undefined, signal);
    return token;
  } catch (error) {
    if (!isAws(error, "ResourceNotFoundException") || isArn(path)) throw error;
  }
  try {
    await createSecret(session, { name: path, value, token }, signal);
  } catch (error) {
    if (!isAws(error, "ResourceExistsException")) throw error;
    // Somebody else has created it meanwhile.
    await putVersion(session, path, value, token, undefined, signal);
  }
  return token;
}

/** Writes only where no value is yet. Returns the new version. */
export async function writeFirst(
  session: Session,
  path: string,
  value: Secret,
  signal: AbortSignal,
): Promise<string> {
  const known = await describeSecret(session, path, signal);
  if (known?.current !== undefined && !known.isDeleted) throw notAsPlanned(known.current, undefined);
  // A secret can be without a value. Whoever puts the first one uses the same token, so that only one of two can.
  const token = known ? versionIdFor("first value", path) : randomUUID();
  try {
    if (known) await putVersion(session, path, value, token, undefined, signal);
    else await createSecret(session, { name: path, value, token }, signal);
    return token;
  } catch (error) {
    if (!isAws(error, "ResourceExistsException")) throw error;
    throw notAsPlanned((await describeSecret(session, path, signal))?.current, undefined);
  }
}

/** Writes only over that version. Returns the new one. */
export async function replace(
  session: Session,
  path: string,
  value: Secret,
  expected: string,
  signal: AbortSignal,
): Promise<string> {
  const known = await describeSecret(session, path, signal);
  const current = known?.isDeleted ? undefined : known?.current;
  if (current !== expected) throw notAsPlanned(current, expected);
  const token = randomUUID();
  await putVersion(session, path, value, token, [NEXT], signal);
  try {
    await makeCurrent(session, path, { to: token, from: expected }, signal);
  } finally {
    if (!signal.aborted) await dropLabel(session, path, NEXT, token, signal);
  }
  return token;
}

/** Schedules the deletion, with AWS's own time to think better of it (30 days). False if there was nothing. */
export async function removeSecret(session: Session, path: string, signal: AbortSignal): Promise<boolean> {
  const known = await describeSecret(session, path, signal);
  if (!known || known.isDeleted) return false;
  await session.once(
    (client, options) => client.send(new DeleteSecretCommand({ SecretId: path }), options),
    signal,
  );
  return true;
}

/** @param isHidden leaves out what is no secret of the user's */
export async function listSecrets(
  session: Session,
  isHidden: (name: string) => boolean,
  signal: AbortSignal,
): Promise<readonly StoredEntry[]> {
  const entries: StoredEntry[] = [];
  let next: string | undefined;
  for (let page = 0; page < MOST_PAGES; page++) {
    const { SecretList = [], NextToken } = await session.repeatable(
      (client, options) =>
        client.send(
          new ListSecretsCommand({ MaxResults: PAGE, ...(next !== undefined && { NextToken: next }) }),
          options,
        ),
      signal,
    );
    for (const { Name, LastChangedDate, SecretVersionsToStages } of SecretList) {
      if (Name === undefined || isHidden(Name)) continue;
      const version = bearersOf(new Map(Object.entries(SecretVersionsToStages ?? {})), CURRENT)[0];
      entries.push({
        path: Name,
        ...(version !== undefined && { version }),
        ...(LastChangedDate && { updatedAt: LastChangedDate }),
      });
    }
    next = NextToken;
    if (next === undefined) return entries;
  }
  throw new ProviderError(
    "invalid",
    `there are more than ${PAGE * MOST_PAGES} secrets, too many to be listed`,
    {
      hint: "aws secretsmanager list-secrets with a filter",
    },
  );
}

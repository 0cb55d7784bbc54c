/**
 * A candidate beside a secret that has a value: a version of it that bears AWSPENDING and a mark. The version's id
 * comes from the rotation's id, so that a repetition is the same version; each other value is the next one. AWSPENDING
 * is the lock: PutSecretValue would move it away from another without a word, so the value is put under its mark alone,
 * and the label is then moved by UpdateSecretVersionStage, which fails if somebody bears it. That is looked at once more.
 * What AWS can't do is erase a version: without its labels it can't be found, but for some time be read by its id.
 */
import { GetSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import { ProviderError } from "../../src/errors.ts";
import type { Candidate, CandidateMark } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { isAws } from "./aws-error.ts";
import { readMark, writeMark } from "./mark.ts";
import type { Session } from "./session.ts";
import { bearersOf, type Described, describeSecret, dropLabel, moveLabel, PENDING } from "./stages.ts";
import { putVersion, versionIdFor } from "./write.ts";

/** More values than a rotation puts because others write to its document, also when it is gone on with. */
const MOST_VALUES = 16;

/** The versions that a rotation's candidates are, or become: one for each value, in the order in which they are put. */
export function candidateVersions(name: string, rotationId: string): readonly [string, ...string[]] {
  const later = Array.from({ length: MOST_VALUES - 1 }, (_, index) =>
    versionIdFor("candidate", name, rotationId, String(index + 1)),
  );
  return [versionIdFor("candidate", name, rotationId), ...later];
}

/** The version that waits; undefined if none does. Throws ProviderError `conflict` if it is none of ours. */
export async function findPending(
  session: Session,
  path: string,
  known: Described,
  signal: AbortSignal,
): Promise<Candidate | undefined> {
  const version = pendingOf(known);
  if (version === undefined) return undefined;
  const mark = markOf(known, version);
  if (mark) return { ...mark, version };
  throw await foreign(session, path, version, signal);
}

/** Throws ProviderError `conflict` if another candidate is there, or was faster. */
export async function putPending(
  session: Session,
  path: string,
  known: Described,
  value: Secret,
  mark: CandidateMark,
  signal: AbortSignal,
): Promise<Candidate> {
  const label = writeMark(mark);
  // What is left of a value that was put before, and half taken away.
  await dropPending(session, path, mark.rotationId, known, signal);
  const version = await putMarked(
    session,
    path,
    candidateVersions(known.name, mark.rotationId),
    value,
    label,
    signal,
  );
  let refusal: ProviderError | undefined;
  try {
    // AWS leaves the label on the current version when a rotation of its own has ended well.
    const from = bearersOf(known.labels, PENDING).find((bearer) => bearer === known.current);
    await moveLabel(session, path, PENDING, { to: version, ...(from !== undefined && { from }) }, signal);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    refusal = error;
  }
  const now = await describeSecret(session, path, signal);
  const bearers = now ? bearersOf(now.labels, PENDING).filter((bearer) => bearer !== now.current) : [];
  if (bearers.length === 1 && bearers[0] === version) return { ...mark, version };
  await dropPending(session, path, mark.rotationId, now, signal);
  const winner = bearers.find((bearer) => bearer !== version);
  if (!now || winner === undefined) throw refusal ?? takenAway();
  const theirs = markOf(now, winner);
  throw theirs ? conflictWith(theirs) : await foreign(session, path, winner, signal);
}

/** The value under its mark, in the version that has it already or else the first that has no other. Answers which. */
async function putMarked(
  session: Session,
  path: string,
  versions: readonly string[],
  value: Secret,
  label: string,
  signal: AbortSignal,
): Promise<string> {
  for (const version of versions) {
    try {
      const labels = await putVersion(session, path, value, version, [label], signal);
      if (!labels.includes(label)) await moveLabel(session, path, label, { to: version }, signal);
      return version;
    } catch (error) {
      if (!isAws(error, "ResourceExistsException")) throw error;
    }
  }
  throw otherValue();
}

/** Takes the labels of a rotation's candidate off, from all its versions. False if there were none. */
export async function dropPending(
  session: Session,
  path: string,
  rotationId: string,
  known: Described | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const isMark = (label: string) => readMark(label)?.rotationId === rotationId;
  const marked = [...(known?.labels ?? [])].filter(([, labels]) => labels.some(isMark));
  for (const [version, labels] of marked) {
    // AWSPENDING first: without its mark it would be nobody's, and block everybody.
    if (labels.includes(PENDING)) await dropLabel(session, path, PENDING, version, signal);
    for (const label of labels.filter(isMark)) await dropLabel(session, path, label, version, signal);
  }
  return marked.length > 0;
}

/** Undefined if that version has no value. */
export async function valueOfVersion(
  session: Session,
  path: string,
  version: string,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  try {
    const { SecretString } = await session.repeatable(
      (client, options) =>
        client.send(new GetSecretValueCommand({ SecretId: path, VersionId: version }), options),
      signal,
    );
    return SecretString === undefined ? undefined : new Secret(SecretString);
  } catch (error) {
    if (isAws(error, "ResourceNotFoundException")) return undefined;
    throw error;
  }
}

export function conflictWith({ rotationId, operator, createdAt }: CandidateMark): ProviderError {
  return new ProviderError(
    "conflict",
    `rotation ${rotationId} of ${operator} has a candidate there since ${createdAt.toISOString()}`,
    { hint: "asking them, or discarding that candidate if nobody is at it any more" },
  );
}

export function otherValue(): ProviderError {
  return new ProviderError("conflict", "this rotation has put another value there before", {
    hint: "discarding it, and a new rotation",
  });
}

function takenAway(): ProviderError {
  return new ProviderError("conflict", "somebody has taken AWSPENDING away at this moment", {
    hint: "again",
  });
}

function pendingOf(known: Described): string | undefined {
  return bearersOf(known.labels, PENDING).find((bearer) => bearer !== known.current);
}

function markOf(known: Described, version: string): CandidateMark | undefined {
  return (known.labels.get(version) ?? []).map(readMark).find((mark) => mark !== undefined);
}

/** AWSPENDING on a version that no rotation of ours has put. */
async function foreign(
  session: Session,
  path: string,
  version: string,
  signal: AbortSignal,
): Promise<ProviderError> {
  const isEmpty = (await valueOfVersion(session, path, version, signal)) === undefined;
  const state = isEmpty
    ? `AWSPENDING is on version ${version}, which has no value: a rotation of AWS itself that failed`
    : `AWSPENDING is on version ${version}, which another rotation has put: AWS's own, or another tool's`;
  return new ProviderError("conflict", state, {
    hint: `waiting for it; if nobody is at it: aws secretsmanager update-secret-version-stage --secret-id ${path} --version-stage AWSPENDING --remove-from-version-id ${version}`,
  });
}

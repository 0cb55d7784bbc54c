/**
 * A candidate beside a secret that has a value: a version of it that bears AWSPENDING and a mark. The version's id
 * comes from the rotation's id, so that a repetition is the same version. AWSPENDING is the lock: PutSecretValue
 * would move it away from another without a word, so the value is put under its mark alone, and the label is then
 * moved by UpdateSecretVersionStage, which fails if somebody bears it. That is looked at once more afterwards.
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

/** The version that a rotation's candidate is, or becomes. */
export function candidateVersion(name: string, rotationId: string): string {
  return versionIdFor("candidate", name, rotationId);
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
  const version = candidateVersion(known.name, mark.rotationId);
  const label = writeMark(mark);
  await putMarked(session, path, version, value, label, signal);
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
  await dropPending(session, path, version, now, signal);
  const winner = bearers.find((bearer) => bearer !== version);
  if (!now || winner === undefined) throw refusal ?? takenAway();
  const theirs = markOf(now, winner);
  throw theirs ? conflictWith(theirs) : await foreign(session, path, winner, signal);
}

/** The value under its mark, whatever a former attempt has left of it. */
async function putMarked(
  session: Session,
  path: string,
  version: string,
  value: Secret,
  label: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const labels = await putVersion(session, path, value, version, [label], signal);
    if (!labels.includes(label)) await moveLabel(session, path, label, { to: version }, signal);
  } catch (error) {
    if (isAws(error, "ResourceExistsException")) throw otherValue();
    throw error;
  }
}

/** Takes the labels of a candidate off its version. False if there were none. */
export async function dropPending(
  session: Session,
  path: string,
  version: string,
  known: Described | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const labels = known?.labels.get(version) ?? [];
  const ours = labels.filter((label) => label === PENDING || readMark(label));
  // AWSPENDING first: without its mark it would be nobody's, and block everybody.
  for (const label of ours.sort((a) => (a === PENDING ? -1 : 1))) {
    await dropLabel(session, path, label, version, signal);
  }
  return ours.length > 0;
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

/**
 * The rotation of Secrets Manager itself, begun now: a function of the account makes a new value under AWSPENDING,
 * sets it at the service, tries it, and moves AWSCURRENT to it. The version's id comes from the rotation's id, so that
 * whoever goes on after a crash finds it, and waits for it instead of beginning another.
 */
import { RotateSecretCommand } from "@aws-sdk/client-secrets-manager";
import { type Clock, pause } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { type FetchedSecret, heldByAnother, type LiveRotation } from "../../src/secrets/provider.ts";
import { findPending, valueOfVersion } from "./pending-version.ts";
import type { Session } from "./session.ts";
import { describeSecret, dropLabel, notAsPlanned, PENDING } from "./stages.ts";
import { versionIdFor } from "./write.ts";

/** Ms for the function: most are done in a minute, and none may take longer than 15 for one of its four steps. */
const PATIENCE_MS = 5 * 60_000;
/** Ms between two looks: at first, how much more each time, and at most. */
const FIRST_PAUSE_MS = 500;
const PAUSE_GROWTH = 1.5;
const LONGEST_PAUSE_MS = 15_000;

/** @param read the current value. Throws ProviderError `invalid` for a secret that AWS does not rotate. */
export async function rotationOf(
  session: Session,
  path: string,
  read: (signal: AbortSignal) => Promise<FetchedSecret>,
  clock: Clock,
  signal: AbortSignal,
): Promise<LiveRotation> {
  const known = await describeSecret(session, path, signal);
  if (!known || known.isDeleted) {
    throw new ProviderError("missing", "there is no such secret", { hint: "its name, and its region" });
  }
  if (!known.rotatesItself) {
    throw new ProviderError("invalid", "AWS does not rotate it: no rotation is enabled for it", {
      hint: `aws secretsmanager rotate-secret --secret-id ${path} with --rotation-lambda-arn, or \`rotate:\` with \`generate\`, \`hook\` or \`console\``,
    });
  }
  return {
    mode: "aws-rotation",
    read,
    mayBegin: (either) => refusePending(session, path, either),
    rotate: (rotationId, planned, either) => rotate(session, path, rotationId, planned, clock, either),
    retire: (version, either) => retire(session, path, version, either),
  };
}

async function rotate(
  session: Session,
  path: string,
  rotationId: string,
  planned: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ readonly version: string }> {
  const known = await describeSecret(session, path, signal);
  const version = versionIdFor("rotate", known?.name ?? path, rotationId);
  if (known?.current === version) return { version };
  if (!known?.labels.has(version)) {
    const current = known?.isDeleted ? undefined : known?.current;
    if (current !== planned) throw notAsPlanned(current, planned);
    await refusePending(session, path, signal);
    await begin(session, path, version, signal);
  }
  await untilCurrent(session, path, version, clock, signal);
  return { version };
}

async function begin(session: Session, path: string, version: string, signal: AbortSignal): Promise<void> {
  try {
    await session.once(
      (client, options) =>
        client.send(
          new RotateSecretCommand({ SecretId: path, ClientRequestToken: version, RotateImmediately: true }),
          options,
        ),
      signal,
    );
  } catch (error) {
    if (!(error instanceof ProviderError) || error.failure !== "unavailable") throw error;
    // The request may have been carried out although its answer got lost.
    const now = await describeSecret(session, path, signal).catch(unsure);
    if (!now?.labels.has(version)) throw error;
  }
}

/** From here on no failure may say that nothing was changed: the function may have changed it at the service. */
async function untilCurrent(
  session: Session,
  path: string,
  version: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonic() + PATIENCE_MS;
  let wasSeen = false;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * PAUSE_GROWTH)) {
    const now = await describeSecret(session, path, signal).catch(unsure);
    if (now?.current === version) return;
    const isThere = now?.labels.has(version) === true;
    if (wasSeen && !isThere) {
      throw new ProviderError(
        "unavailable",
        `${PENDING} was taken off version ${version}, which AWS was making`,
        {
          hint: "the log of its rotation function, which says how far it came",
        },
      );
    }
    wasSeen ||= isThere;
    if (clock.monotonic() >= deadline) throw await stuck(session, path, version, signal);
    await pause(clock, pauseMs, signal);
  }
}

async function stuck(
  session: Session,
  path: string,
  version: string,
  signal: AbortSignal,
): Promise<ProviderError> {
  const hasValue = await valueOfVersion(session, path, version, signal).then(
    (value) => value !== undefined,
    unsure,
  );
  const far = hasValue
    ? "its function has made a value and has not finished"
    : "its function has made no value";
  return new ProviderError(
    "unavailable",
    `${PENDING} is still on version ${version} after ${PATIENCE_MS / 1000} s: ${far}`,
    { hint: "the log of its rotation function; AWS calls it again by itself" },
  );
}

/** Throws ProviderError `conflict` for a version that waits to become the current one. */
async function refusePending(session: Session, path: string, signal: AbortSignal): Promise<void> {
  const known = await describeSecret(session, path, signal);
  const pending = known && (await findPending(session, path, known, signal));
  if (pending) throw heldByAnother(pending);
}

/** Nobody gets it by a label any more; what its value is good for was for others to end. */
async function retire(
  session: Session,
  path: string,
  version: string,
  signal: AbortSignal,
): Promise<boolean> {
  const known = await describeSecret(session, path, signal);
  if (known?.current === version) throw notAsPlanned(version, undefined);
  const labels = known?.labels.get(version) ?? [];
  for (const label of labels) await dropLabel(session, path, label, version, signal);
  return labels.length > 0;
}

function unsure(error: unknown): never {
  if (!(error instanceof ProviderError)) throw error;
  throw new ProviderError("unavailable", `it is not known what has come of its rotation: ${error.reason}`, {
    ...(error.hint !== undefined && { hint: error.hint }),
  });
}

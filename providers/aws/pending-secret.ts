/**
 * A candidate for a secret that is not there, or is scheduled for deletion: the first version of a secret is current
 * at once, so the candidate waits in a secret of its own, NAME-mcp-run-pending. CreateSecret is the lock: of two
 * that ask for one name at the same time one gets it. The description says whose it is. It is erased for good when
 * it has served; AWS does that a little later, and until then the name can't be used again.
 */
import {
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
} from "@aws-sdk/client-secrets-manager";
import { ProviderError } from "../../src/errors.ts";
import type { Candidate, CandidateMark } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { isAws } from "./aws-error.ts";
import { readMark, writeMark } from "./mark.ts";
import { conflictWith, otherValue } from "./pending-version.ts";
import type { Session } from "./session.ts";
import { createSecret, versionIdFor } from "./write.ts";

const SUFFIX = "-mcp-run-pending";
/** API reference of CreateSecret: the name has at most 512 characters. */
const MAX_NAME = 512;

/** The name of the side secret. */
export function sideName(name: string): string {
  return `${name}${SUFFIX}`;
}

export function isSideName(name: string): boolean {
  return name.endsWith(SUFFIX);
}

/** Undefined if there is no side secret. Throws ProviderError `conflict` if it is none of ours. */
export async function findSide(
  session: Session,
  name: string,
  signal: AbortSignal,
): Promise<Candidate | undefined> {
  const side = sideName(name);
  if (side.length > MAX_NAME) return undefined;
  try {
    const { Description = "", DeletedDate } = await session.repeatable(
      (client, options) => client.send(new DescribeSecretCommand({ SecretId: side }), options),
      signal,
    );
    if (DeletedDate) return undefined;
    const mark = readMark(Description);
    if (mark) return mark;
  } catch (error) {
    if (isAws(error, "ResourceNotFoundException")) return undefined;
    throw error;
  }
  throw new ProviderError("conflict", `the secret ${side} is there, and no rotation of ours has made it`, {
    hint: "another name for it",
  });
}

/** Throws ProviderError `conflict` if another candidate is there. */
export async function putSide(
  session: Session,
  name: string,
  kmsKeyId: string | undefined,
  value: Secret,
  mark: CandidateMark,
  signal: AbortSignal,
): Promise<Candidate> {
  const side = sideName(name);
  if (side.length > MAX_NAME) {
    throw new ProviderError("invalid", `the name ${side} has more than ${MAX_NAME} characters`);
  }
  const token = versionIdFor("side", name, mark.rotationId);
  try {
    await createSecret(session, { name: side, value, token, description: writeMark(mark), kmsKeyId }, signal);
    return mark;
  } catch (error) {
    if (isAws(error, "InvalidRequestException")) throw stillThere(side);
    if (!isAws(error, "ResourceExistsException")) throw error;
  }
  const found = await findSide(session, name, signal);
  if (found === undefined) throw stillThere(side);
  if (found.rotationId !== mark.rotationId) throw conflictWith(found);
  if (!(await valueOfSide(session, name, signal))?.equals(value)) throw otherValue();
  return found;
}

/** Undefined if there is none any more. */
export async function valueOfSide(
  session: Session,
  name: string,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  try {
    const { SecretString } = await session.repeatable(
      (client, options) => client.send(new GetSecretValueCommand({ SecretId: sideName(name) }), options),
      signal,
    );
    return SecretString === undefined ? undefined : new Secret(SecretString);
  } catch (error) {
    if (isAws(error, "ResourceNotFoundException")) return undefined;
    throw error;
  }
}

/** Erases the side secret and its value. */
export async function eraseSide(session: Session, name: string, signal: AbortSignal): Promise<void> {
  await session.repeatable(
    (client, options) =>
      client.send(
        new DeleteSecretCommand({ SecretId: sideName(name), ForceDeleteWithoutRecovery: true }),
        options,
      ),
    signal,
  );
}

function stillThere(side: string): ProviderError {
  return new ProviderError("conflict", `AWS is still erasing ${side} of an earlier rotation`, {
    hint: "again in a minute",
  });
}

/**
 * Staging labels: what says which version of a secret is the current one, the one before, the one to come. Moving
 * a label is the service's compare-and-set: UpdateSecretVersionStage fails unless the label is where the request says
 * that it is (its API reference, RemoveFromVersionId).
 */
import { DescribeSecretCommand, UpdateSecretVersionStageCommand } from "@aws-sdk/client-secrets-manager";
import { ProviderError } from "../../src/errors.ts";
import { isAws } from "./aws-error.ts";
import type { Session } from "./session.ts";

export const CURRENT = "AWSCURRENT";
export const PENDING = "AWSPENDING";

/** A secret without its value. */
export interface Described {
  readonly name: string;
  readonly kmsKeyId: string | undefined;
  /** Scheduled for deletion: it can be restored, and nothing else. */
  readonly isDeleted: boolean;
  /** A rotation of AWS's own is enabled for it. */
  readonly rotatesItself: boolean;
  /** The version that bears AWSCURRENT. */
  readonly current: string | undefined;
  /** Version ids and their labels; a version without a label is not in it. */
  readonly labels: ReadonlyMap<string, readonly string[]>;
}

/** Undefined if there is no such secret. Throws ProviderError. */
export async function describeSecret(
  session: Session,
  path: string,
  signal: AbortSignal,
): Promise<Described | undefined> {
  try {
    const { Name, KmsKeyId, DeletedDate, RotationEnabled, VersionIdsToStages } = await session.repeatable(
      (client, options) => client.send(new DescribeSecretCommand({ SecretId: path }), options),
      signal,
    );
    const labels = new Map(
      Object.entries(VersionIdsToStages ?? {}).filter(([, stages]) => stages.length > 0),
    );
    return {
      name: Name ?? path,
      kmsKeyId: KmsKeyId,
      isDeleted: DeletedDate !== undefined,
      rotatesItself: RotationEnabled === true,
      current: bearersOf(labels, CURRENT)[0],
      labels,
    };
  } catch (error) {
    if (isAws(error, "ResourceNotFoundException")) return undefined;
    throw error;
  }
}

/** The versions with that label: one, unless somebody is moving it at this moment. */
export function bearersOf(labels: Described["labels"], label: string): string[] {
  return [...labels].filter(([, borne]) => borne.includes(label)).map(([version]) => version);
}

/** Without `to` the label is taken away; without `from` it must not be anywhere yet. Throws ProviderError. */
export async function moveLabel(
  session: Session,
  path: string,
  label: string,
  { to, from }: { readonly to?: string; readonly from?: string },
  signal: AbortSignal,
): Promise<void> {
  await session.once(
    (client, options) =>
      client.send(
        new UpdateSecretVersionStageCommand({
          SecretId: path,
          VersionStage: label,
          ...(to !== undefined && { MoveToVersionId: to }),
          ...(from !== undefined && { RemoveFromVersionId: from }),
        }),
        options,
      ),
    signal,
  );
}

/** Takes a label away; no failure if somebody was faster. Throws ProviderError. */
export async function dropLabel(
  session: Session,
  path: string,
  label: string,
  version: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await moveLabel(session, path, label, { from: version }, signal);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    const borne = (await describeSecret(session, path, signal))?.labels.get(version);
    if (borne?.includes(label)) throw error;
  }
}

/** Makes `to` the current version if `from` is it now. Throws ProviderError, `conflict` if another one is. */
export async function makeCurrent(
  session: Session,
  path: string,
  { to, from }: { readonly to: string; readonly from: string },
  signal: AbortSignal,
): Promise<void> {
  try {
    await moveLabel(session, path, CURRENT, { to, from }, signal);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    // The request may have been carried out although its answer got lost.
    const now = (await describeSecret(session, path, signal))?.current;
    if (now === to) return;
    throw now === from ? error : notAsPlanned(now, from);
  }
}

/** Whoever planned with one version finds another. */
export function notAsPlanned(now: string | undefined, planned: string | undefined): ProviderError {
  const found = now === undefined ? "it has none" : `it is ${now}`;
  const expected = planned === undefined ? "no version was expected" : `version ${planned} was expected`;
  return new ProviderError("conflict", `${expected} to be current, and ${found}`, {
    hint: "again with the value that is current now",
  });
}

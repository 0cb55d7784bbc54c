/**
 * The writable side of a rotation. Each step looks at what is there before and does only what is left to do, so that
 * it can be repeated after a crash at any point: the versions of its candidates are known from the rotation's id, the
 * current version is changed by compare-and-set (stages.ts), and labels go last.
 */
import { ProviderError } from "../../src/errors.ts";
import type { Candidate, CandidateMark, FetchedSecret } from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { isAws } from "./aws-error.ts";
import { eraseSide, findSide, putSide, valueOfSide } from "./pending-secret.ts";
import {
  candidateVersions,
  conflictWith,
  dropPending,
  findPending,
  otherValue,
  putPending,
  valueOfVersion,
} from "./pending-version.ts";
import { isArn } from "./ref.ts";
import type { Session } from "./session.ts";
import { type Described, describeSecret, dropLabel, makeCurrent, notAsPlanned } from "./stages.ts";
import { checkSize, createSecret, putVersion } from "./write.ts";

/** A secret and its candidate: one that is a version of the secret has an id, one in a side secret has none. */
type Found = { readonly known: Described | undefined; readonly candidate: Candidate | undefined };

export class Rotation {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async find(path: string, signal: AbortSignal): Promise<Candidate | undefined> {
    return (await this.#look(path, signal)).candidate;
  }

  async put(path: string, value: Secret, mark: CandidateMark, signal: AbortSignal): Promise<Candidate> {
    checkSize(value);
    const { known, candidate } = await this.#look(path, signal);
    if (candidate) {
      if (candidate.rotationId !== mark.rotationId) throw conflictWith(candidate);
      if (!(await this.#valueOf(path, known, candidate, signal))?.equals(value)) throw otherValue();
      return candidate;
    }
    if (known?.current !== undefined && !known.isDeleted) {
      return putPending(this.#session, path, known, value, mark, signal);
    }
    return putSide(this.#session, nameOf(path, known), known?.kmsKeyId, value, mark, signal);
  }

  async fetch(path: string, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    const { known, candidate } = await this.#look(path, signal);
    const ours = mustBeOurs(candidate, rotationId);
    const value = await this.#valueOf(path, known, ours, signal);
    if (!value) throw noCandidate();
    return { value, ...(ours.version !== undefined && { version: ours.version }) };
  }

  async promote(
    path: string,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const known = await describeSecret(this.#session, path, signal);
    const name = nameOf(path, known);
    const versions = candidateVersions(name, rotationId);
    const current = known?.isDeleted ? undefined : known?.current;
    if (current !== undefined && versions.includes(current)) {
      await this.#tidy(path, name, known, rotationId, signal);
      return { version: current };
    }
    const { version } = mustBeOurs(await this.#candidateOf(path, known, signal), rotationId);
    if (current !== planned) throw notAsPlanned(current, planned);
    if (current === undefined) {
      await this.#createFromSide(name, known, versions[0], signal);
      await eraseSide(this.#session, name, signal);
      return { version: versions[0] };
    }
    if (version === undefined) throw notAsPlanned(current, planned);
    await makeCurrent(this.#session, path, { to: version, from: current }, signal);
    await dropPending(this.#session, path, rotationId, known, signal);
    return { version };
  }

  async discard(path: string, rotationId: string, signal: AbortSignal): Promise<boolean> {
    const { known, candidate } = await this.#look(path, signal);
    // Also what is left of a candidate that never became one, or was half taken away.
    if (await dropPending(this.#session, path, rotationId, known, signal)) return true;
    if (candidate === undefined) return false;
    mustBeOurs(candidate, rotationId);
    await eraseSide(this.#session, nameOf(path, known), signal);
    return true;
  }

  async restore(
    path: string,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const known = await describeSecret(this.#session, path, signal);
    const current = known?.isDeleted ? undefined : known?.current;
    if (current === version) return { version };
    if (current !== planned) throw notAsPlanned(current, planned);
    if (!known?.labels.has(version)) throw noVersion(version);
    await makeCurrent(this.#session, path, { to: version, from: planned }, signal);
    return { version };
  }

  async retire(path: string, version: string, signal: AbortSignal): Promise<boolean> {
    const known = await describeSecret(this.#session, path, signal);
    if (known?.current === version && !known.isDeleted) {
      throw new ProviderError("invalid", `version ${version} is the current one, which is never retired`, {
        hint: "promoting another value first",
      });
    }
    const labels = known?.labels.get(version) ?? [];
    for (const label of labels) await dropLabel(this.#session, path, label, version, signal);
    return labels.length > 0;
  }

  async #look(path: string, signal: AbortSignal): Promise<Found> {
    const known = await describeSecret(this.#session, path, signal);
    return { known, candidate: await this.#candidateOf(path, known, signal) };
  }

  async #candidateOf(
    path: string,
    known: Described | undefined,
    signal: AbortSignal,
  ): Promise<Candidate | undefined> {
    const pending =
      known && !known.isDeleted ? await findPending(this.#session, path, known, signal) : undefined;
    return pending ?? (await findSide(this.#session, nameOf(path, known), signal));
  }

  #valueOf(
    path: string,
    known: Described | undefined,
    { version }: Candidate,
    signal: AbortSignal,
  ): Promise<Secret | undefined> {
    return version === undefined
      ? valueOfSide(this.#session, nameOf(path, known), signal)
      : valueOfVersion(this.#session, path, version, signal);
  }

  /** Makes a secret out of its side secret. */
  async #createFromSide(
    name: string,
    known: Described | undefined,
    version: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (known?.isDeleted) {
      throw new ProviderError("conflict", "the secret is scheduled for deletion", {
        hint: `aws secretsmanager restore-secret --secret-id ${name}, or another name`,
      });
    }
    const value = await valueOfSide(this.#session, name, signal);
    if (!value) throw noCandidate();
    try {
      if (known) await putVersion(this.#session, name, value, version, undefined, signal);
      else await createSecret(this.#session, { name, value, token: version }, signal);
    } catch (error) {
      if (!isAws(error, "ResourceExistsException")) throw error;
      throw notAsPlanned((await describeSecret(this.#session, name, signal))?.current, undefined);
    }
  }

  /** What a promotion that was broken off may have left: labels on the current version, or the side secret. */
  async #tidy(
    path: string,
    name: string,
    known: Described | undefined,
    rotationId: string,
    signal: AbortSignal,
  ): Promise<void> {
    await dropPending(this.#session, path, rotationId, known, signal);
    const side = await findSide(this.#session, name, signal);
    if (side?.rotationId === rotationId) await eraseSide(this.#session, name, signal);
  }
}

function mustBeOurs(candidate: Candidate | undefined, rotationId: string): Candidate {
  if (candidate === undefined) throw noCandidate();
  if (candidate.rotationId !== rotationId) throw conflictWith(candidate);
  return candidate;
}

/** A secret that is not there can't be made by an ARN. */
function nameOf(path: string, known: Described | undefined): string {
  if (known) return known.name;
  if (!isArn(path)) return path;
  throw new ProviderError("missing", "there is no secret of this ARN", { hint: "its name instead" });
}

function noCandidate(): ProviderError {
  return new ProviderError("missing", "there is no candidate", { hint: "putting one first" });
}

function noVersion(version: string): ProviderError {
  return new ProviderError("missing", `there is no version ${version}, or it was retired`, {
    hint: "aws secretsmanager list-secret-version-ids",
  });
}

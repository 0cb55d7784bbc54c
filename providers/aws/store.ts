/** One Secrets Manager as a store: what mcp-run's commands and its rotation see of it. */
import type { Clock } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type {
  Candidate,
  CandidateMark,
  FetchedSecret,
  OwnRotation,
  ProviderContext,
  RotatableStore,
  SelfRotating,
  StoredEntry,
} from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { isSideName } from "./pending-secret.ts";
import { type Answer, SecretReader } from "./read.ts";
import { type AwsRef, versionOf } from "./ref.ts";
import { rotationOf } from "./rotate-now.ts";
import { Rotation } from "./rotation.ts";
import type { Session } from "./session.ts";
import { bearersOf, describeSecret } from "./stages.ts";
import { checkSize, listSecrets, overwrite, removeSecret, replace, writeFirst } from "./write.ts";

export class SecretsManagerStore implements RotatableStore<AwsRef>, SelfRotating<AwsRef> {
  readonly #session: Session;
  readonly #reader: SecretReader;
  readonly #rotation: Rotation;
  readonly #clock: Clock;

  constructor(session: Session, { emit, clock }: Pick<ProviderContext, "emit" | "clock">) {
    this.#session = session;
    this.#clock = clock;
    this.#reader = new SecretReader(session, emit);
    this.#rotation = new Rotation(session);
  }

  fetch(refs: readonly AwsRef[], signal: AbortSignal): Promise<ReadonlyMap<AwsRef, Answer>> {
    return this.#reader.fetch(refs, signal);
  }

  /** By DescribeSecret, which needs no right to the value; of a pinned version, that one if it is there. */
  async currentVersion(ref: AwsRef, signal: AbortSignal): Promise<string | undefined> {
    const known = await describeSecret(this.#session, ref.path, signal);
    if (!known || known.isDeleted) return undefined;
    const version = versionOf(ref);
    if (version === undefined) return known.current;
    if ("VersionStage" in version) return bearersOf(known.labels, version.VersionStage)[0];
    return known.labels.has(version.VersionId) ? version.VersionId : undefined;
  }

  async put(
    ref: AwsRef,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: { readonly version: string | undefined },
  ): Promise<{ readonly version: string }> {
    const path = writable(ref);
    checkSize(value);
    const version =
      onlyIf === undefined
        ? await overwrite(this.#session, path, value, signal)
        : onlyIf.version === undefined
          ? await writeFirst(this.#session, path, value, signal)
          : await replace(this.#session, path, value, onlyIf.version, signal);
    return { version };
  }

  async remove(ref: AwsRef, signal: AbortSignal): Promise<boolean> {
    return removeSecret(this.#session, writable(ref), signal);
  }

  list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    return listSecrets(this.#session, isSideName, signal);
  }

  async findCandidate(ref: AwsRef, signal: AbortSignal): Promise<Candidate | undefined> {
    return this.#rotation.find(writable(ref), signal);
  }

  async putCandidate(
    ref: AwsRef,
    value: Secret,
    mark: CandidateMark,
    signal: AbortSignal,
  ): Promise<Candidate> {
    return this.#rotation.put(writable(ref), value, mark, signal);
  }

  async fetchCandidate(ref: AwsRef, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    return this.#rotation.fetch(writable(ref), rotationId, signal);
  }

  async promote(
    ref: AwsRef,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return this.#rotation.promote(writable(ref), rotationId, planned, signal);
  }

  async discard(ref: AwsRef, rotationId: string, signal: AbortSignal): Promise<boolean> {
    return this.#rotation.discard(writable(ref), rotationId, signal);
  }

  async restore(
    ref: AwsRef,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return this.#rotation.restore(writable(ref), version, planned, signal);
  }

  async retire(ref: AwsRef, version: string, signal: AbortSignal): Promise<boolean> {
    return this.#rotation.retire(writable(ref), version, signal);
  }

  async ownRotation(ref: AwsRef, signal: AbortSignal): Promise<OwnRotation> {
    const read = async (either: AbortSignal) => {
      const answer = (await this.fetch([ref], either)).get(ref);
      if (answer && !(answer instanceof ProviderError)) return answer;
      throw answer ?? new ProviderError("invalid", "there was no answer for it");
    };
    return rotationOf(this.#session, writable(ref), read, this.#clock, signal);
  }

  async close(): Promise<void> {
    this.#session.close();
  }
}

/** A ref to one version is a ref to something that doesn't change. */
function writable(ref: AwsRef): string {
  if (versionOf(ref) === undefined) return ref.path;
  throw new ProviderError("invalid", `version ${ref.version} of a secret is never written`, {
    hint: "the ref without its version",
  });
}

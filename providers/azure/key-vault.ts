/**
 * A vault as a store in which a key can be rotated. Key Vault has no batch, so refs are read one by one, some at a
 * time; no check-and-set, see settle.ts; and no staging, see candidates.ts.
 */
import type { Clock } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type {
  Candidate,
  CandidateMark,
  FetchedSecret,
  RotatableStore,
  StoredEntry,
} from "../../src/secrets/provider.ts";
import type { Secret } from "../../src/secrets/secret.ts";
import { AzureError } from "./azure-error.ts";
import { Candidates } from "./candidates.ts";
import { writeIfCurrent } from "./conditional-write.ts";
import { CONCURRENCY, type VaultConnection } from "./connection.ts";
import { attributesAfter, attributesOf, currentOf } from "./current-version.ts";
import { bears, promotedTags, restoredTags, type Tags } from "./marks.ts";
import { type DateRule, readVersion } from "./read-version.ts";
import { type AzureRef, CANDIDATE_SUFFIX } from "./settings.ts";
import { type StoredVersion, usable } from "./stored-version.ts";
import { VaultClient } from "./vault-client.ts";

type Answers = Map<AzureRef, FetchedSecret | ProviderError>;

export class KeyVault implements RotatableStore<AzureRef> {
  readonly #connection: VaultConnection;
  readonly #client: VaultClient;
  readonly #candidates: Candidates;
  readonly #clock: Clock;
  readonly #rule: DateRule;

  constructor(connection: VaultConnection, clock: Clock, ignoreDates: boolean) {
    this.#connection = connection;
    this.#client = new VaultClient(connection);
    this.#candidates = new Candidates(this.#client, clock);
    this.#clock = clock;
    this.#rule = { now: () => clock.now(), ignoreDates };
  }

  async fetch(refs: readonly AzureRef[], signal: AbortSignal): Promise<Answers> {
    signal.throwIfAborted();
    const answers: Answers = new Map();
    const waiting = [...refs];
    const [first] = waiting;
    if (first && !this.#connection.isGreeted) {
      const answer = await readVersion(this.#client, first, this.#rule, signal);
      // A vault that can't be reached or a login that fails would do so for each of them.
      if (!this.#connection.isGreeted && answer instanceof ProviderError) {
        return new Map(refs.map((ref) => [ref, answer]));
      }
      answers.set(first, answer);
      waiting.shift();
    }
    const readOneAfterTheOther = async () => {
      for (let ref = waiting.shift(); ref; ref = waiting.shift()) {
        answers.set(ref, await readVersion(this.#client, ref, this.#rule, signal));
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, readOneAfterTheOther));
    return answers;
  }

  async currentVersion({ path, version }: AzureRef, signal: AbortSignal): Promise<string | undefined> {
    if (version === undefined) return (await currentOf(this.#client, path, signal))?.version;
    try {
      return (await this.#client.get(path, version, signal)).version;
    } catch (error) {
      if (error instanceof ProviderError && error.failure === "missing") return undefined;
      throw error;
    }
  }

  async put(
    ref: AzureRef,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: { readonly version: string | undefined },
  ): Promise<{ readonly version: string }> {
    signal.throwIfAborted();
    const name = nameIn(ref);
    if (onlyIf) return this.#replace(name, value, onlyIf.version, {}, signal);
    const attributes = attributesAfter(await currentOf(this.#client, name, signal), {}, this.#clock.now());
    return { version: (await this.#client.set(name, value, attributes, signal)).version };
  }

  /** Soft-deletes every version; the vault keeps them for 7 to 90 days. */
  async remove(ref: AzureRef, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    try {
      await this.#client.remove(nameIn(ref), signal);
      return true;
    } catch (error) {
      if (error instanceof AzureError && error.failure === "missing") return false;
      throw error;
    }
  }

  async list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    signal.throwIfAborted();
    return (await this.#client.secrets(signal))
      .filter(({ name }) => !name.toLowerCase().endsWith(CANDIDATE_SUFFIX))
      .map(({ name, updatedAt }) => ({ path: name, ...(updatedAt && { updatedAt }) }));
  }

  findCandidate({ path }: AzureRef, signal: AbortSignal): Promise<Candidate | undefined> {
    return this.#candidates.find(path, signal);
  }

  putCandidate(
    { path }: AzureRef,
    value: Secret,
    mark: CandidateMark,
    signal: AbortSignal,
  ): Promise<Candidate> {
    return this.#candidates.put(path, value, mark, signal);
  }

  async fetchCandidate({ path }: AzureRef, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    const own = await this.#candidates.own(path, rotationId, signal);
    if (!own) throw noCandidate(path, rotationId);
    const { value, version, createdAt } = own;
    return { value, version, ...(createdAt && { createdAt }) };
  }

  async promote(
    { path }: AzureRef,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const mark = promotedTags(rotationId);
    const current = await currentOf(this.#client, path, signal);
    if (current && current.version !== planned && bears(current, mark)) {
      // It was broken off after the write, or is asked for once more. Another's candidate is none of our business.
      const left = await this.#candidates.find(path, signal);
      if (left?.rotationId === rotationId) await this.#candidates.discard(path, rotationId, signal);
      return { version: current.version };
    }
    const own = await this.#candidates.own(path, rotationId, signal);
    if (!own) throw noCandidate(path, rotationId);
    const promoted = await this.#replace(path, own.value, planned, mark, signal);
    await this.#candidates.discard(path, rotationId, signal);
    return promoted;
  }

  discard({ path }: AzureRef, rotationId: string, signal: AbortSignal): Promise<boolean> {
    return this.#candidates.discard(path, rotationId, signal);
  }

  async restore(
    { path }: AzureRef,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const mark = restoredTags(version, planned);
    const current = await currentOf(this.#client, path, signal);
    if (current && bears(current, mark)) return { version: current.version };
    const old = await this.#client.get(path, version, signal);
    const isUsable = usable(old, this.#clock.now(), this.#rule.ignoreDates);
    if (isUsable instanceof ProviderError) throw isUsable;
    const request = { name: path, value: old.value, planned, attributes: () => attributesOf(old, mark) };
    return { version: (await writeIfCurrent(this.#client, request, this.#clock, signal)).version };
  }

  async retire({ path }: AzureRef, version: string, signal: AbortSignal): Promise<boolean> {
    const current = await currentOf(this.#client, path, signal);
    if (current?.version === version) {
      throw new AzureError("invalid", `version ${version} is the current one of ${path}`, {
        hint: "a rotation, which makes another one current first",
      });
    }
    const found = (await this.#client.versions(path, signal)).find((one) => one.version === version);
    if (!found) {
      throw new AzureError("missing", `${path} has no version ${version}`, {
        hint: `az keyvault secret list-versions --vault-name ${this.#client.vault} --name ${path}`,
      });
    }
    if (!found.isEnabled) return false;
    await this.#client.disable(found, signal);
    return true;
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /** A new version in place of the planned one. */
  async #replace(
    name: string,
    value: Secret,
    planned: string | undefined,
    mark: Tags,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    const request = {
      name,
      value,
      planned,
      attributes: (current: StoredVersion | undefined) => attributesAfter(current, mark, this.#clock.now()),
    };
    return { version: (await writeIfCurrent(this.#client, request, this.#clock, signal)).version };
  }
}

/** The secret that a ref names as a whole; only such a one can be written. */
function nameIn({ path, version }: AzureRef): string {
  if (version === undefined) return path;
  throw new AzureError("invalid", "one version of a secret is only read, never written", {
    hint: "the ref without its version:",
  });
}

function noCandidate(name: string, rotationId: string): AzureError {
  return new AzureError("missing", `the rotation ${rotationId} has no candidate for ${name}`, {
    hint: "beginning the rotation anew",
  });
}

/**
 * Reads secrets: one by GetSecretValue, more by BatchGetSecretValue, twenty a call. A batch knows current versions
 * only, and needs a permission of its own; what it can't give is asked for one by one.
 */
import { isUtf8 } from "node:buffer";
import {
  BatchGetSecretValueCommand,
  type BatchGetSecretValueCommandOutput,
  GetSecretValueCommand,
} from "@aws-sdk/client-secrets-manager";
import { untilAborted } from "../../src/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Emit } from "../../src/events.ts";
import { type FetchedSecret, placeAt } from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { AwsError, isAws } from "./aws-error.ts";
import { batchFailure } from "./failure.ts";
import { type AwsRef, isNameOf, isSecretArn, regionOf, versionOf } from "./ref.ts";
import type { Session } from "./session.ts";

export type Answer = FetchedSecret | ProviderError;

/** API reference of BatchGetSecretValue: SecretIdList has at most 20 items. */
const BATCH = 20;
/** Requests at the same time. */
const CONCURRENCY = 8;
/** What a whole batch fails with, besides a denial, where the single secrets may still be had. */
const BATCH_REFUSALS = [
  "DecryptionFailure",
  "InvalidParameterException",
  "InvalidRequestException",
  "ResourceNotFoundException",
  "UnknownOperationException",
  "ValidationException",
];

/** A value as the service gives it, alone or in a batch. */
interface Value {
  readonly ARN?: string | undefined;
  readonly SecretString?: string | undefined;
  readonly SecretBinary?: Uint8Array | undefined;
  readonly VersionId?: string | undefined;
  readonly VersionStages?: readonly string[] | undefined;
  readonly CreatedDate?: Date | undefined;
}

export class SecretReader {
  readonly #session: Session;
  readonly #emit: Emit;
  #batchIsRefused = false;

  constructor(session: Session, emit: Emit) {
    this.#session = session;
    this.#emit = emit;
  }

  /** Rejects with a ProviderError only where nothing could be tried. */
  async fetch(refs: readonly AwsRef[], signal: AbortSignal): Promise<Map<AwsRef, Answer>> {
    signal.throwIfAborted();
    const answers = new Map<AwsRef, Answer>();
    if (refs.length === 0) return answers;
    const region = await untilAborted(signal, this.#session.region());
    const here = refs.filter((ref) => {
      const other = regionOf(ref.path);
      if (other === undefined || other === region) return true;
      answers.set(ref, elsewhere(other, region));
      return false;
    });
    const current = here.filter((ref) => versionOf(ref) === undefined);
    const paths = [...new Set(current.map(({ path }) => path))];
    const values =
      paths.length > 1 && !this.#batchIsRefused
        ? await this.#batches(paths, region, signal)
        : new Map<string, Value | ProviderError>();
    const single = here.filter((ref) => !(versionOf(ref) === undefined && values.has(ref.path)));
    await inParallel(single, async (ref) => {
      answers.set(ref, await this.one(ref, signal));
    });
    for (const ref of current) {
      const value = values.get(ref.path);
      if (value) answers.set(ref, value instanceof ProviderError ? value : secretOf(value, ref));
    }
    return answers;
  }

  /** One GetSecretValue. Rejects only when aborted. */
  async one(ref: AwsRef, signal: AbortSignal): Promise<Answer> {
    const version = versionOf(ref) ?? { VersionStage: "AWSCURRENT" };
    try {
      const value = await this.#session.repeatable(
        (client, options) =>
          client.send(new GetSecretValueCommand({ SecretId: ref.path, ...version }), options),
        signal,
      );
      if ("VersionId" in version && !value.VersionStages?.length) return superseded();
      return secretOf(value, ref);
    } catch (error) {
      if (error instanceof ProviderError) return error;
      throw error;
    }
  }

  /** What the batches gave, by the name that was asked with; names without an answer are left out. */
  async #batches(
    paths: readonly string[],
    region: string,
    signal: AbortSignal,
  ): Promise<Map<string, Value | ProviderError>> {
    const answers = new Map<string, Value | ProviderError>();
    const chunks = Array.from({ length: Math.ceil(paths.length / BATCH) }, (_, index) =>
      paths.slice(index * BATCH, (index + 1) * BATCH),
    );
    await inParallel(chunks, async (chunk) => {
      const batch = await this.#batch(chunk, signal);
      if (batch instanceof ProviderError) {
        for (const path of chunk) answers.set(path, batch);
        return;
      }
      const { SecretValues = [], Errors = [], $metadata } = batch;
      for (const path of chunk) {
        const value = SecretValues.find((entry) => isNameOf(path, entry));
        const failure = Errors.find(({ SecretId }) => SecretId === path);
        if (value) answers.set(path, value);
        else if (failure) answers.set(path, batchFailure(failure, $metadata?.requestId, { region }));
      }
    });
    return answers;
  }

  async #batch(
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<Partial<BatchGetSecretValueCommandOutput> | ProviderError> {
    // A last one alone needs no permission for batches.
    if (paths.length === 1) return {};
    try {
      return await this.#session.repeatable(
        (client, options) =>
          client.send(new BatchGetSecretValueCommand({ SecretIdList: [...paths] }), options),
        signal,
      );
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      const isDenied = isAws(error, "AccessDeniedException") || isPlainDenial(error);
      if (!isDenied && !isAws(error, ...BATCH_REFUSALS)) return error;
      if (isDenied) this.#doWithoutBatches();
      return {};
    }
  }

  #doWithoutBatches(): void {
    if (this.#batchIsRefused) return;
    this.#batchIsRefused = true;
    this.#emit({
      type: "debug",
      message: "secretsmanager:BatchGetSecretValue is denied, so each secret is a request of its own",
    });
  }
}

/** Denied for a reason that has nothing to do with the credential, or is not known. */
function isPlainDenial(error: ProviderError): boolean {
  return error.failure === "denied" && error instanceof AwsError && error.awsCode === undefined;
}

function secretOf(value: Value, { binary }: AwsRef): Answer {
  const text = value.SecretString ?? bytesAsText(value.SecretBinary, binary);
  if (text instanceof ProviderError) return text;
  return {
    value: new Secret(text),
    ...(value.VersionId !== undefined && { version: value.VersionId }),
    ...(value.ARN !== undefined && isSecretArn(value.ARN) && placeAt(value.ARN)),
    ...(value.CreatedDate && { createdAt: value.CreatedDate }),
  };
}

function bytesAsText(bytes: Uint8Array | undefined, binary: AwsRef["binary"]): string | ProviderError {
  if (bytes === undefined) {
    return new ProviderError("invalid", "what answers there is not Secrets Manager: it gives no value", {
      hint: "the endpoint in the settings",
    });
  }
  const buffer = Buffer.from(bytes);
  if (binary === "base64") return buffer.toString("base64");
  if (isUtf8(buffer)) return buffer.toString("utf8");
  return new ProviderError("invalid", "the binary secret is not UTF-8 text", {
    hint: "binary: base64 at this secret",
  });
}

/** AWS keeps such a version for a while and may delete it at any time. */
function superseded(): ProviderError {
  return new ProviderError("missing", "that version was retired or superseded: it bears no staging label", {
    hint: "no version, or a staging label for that one",
  });
}

function elsewhere(other: string, region: string): ProviderError {
  return new ProviderError("invalid", `the ARN is of ${other}, but this provider asks ${region}`, {
    hint: `a provider of its own with region: ${other}`,
  });
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const oneAfterTheOther = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, items.length) }, oneAfterTheOther));
}

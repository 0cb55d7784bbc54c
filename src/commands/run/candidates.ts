/**
 * What a rotation has put beside secrets that are in use here, fetched with the credentials of the profile itself.
 * Whoever asks a supervisor for something in the name of a rotation is believed by nothing else.
 */
import { McpRunError, ProviderError } from "../../errors.ts";
import { partValue } from "../../rotation/target.ts";
import { RecordingEnvironment } from "../../secrets/environment-reader.ts";
import { isRotatableStore } from "../../secrets/provider.ts";
import { ProviderPool } from "../../secrets/provider-pool.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Ref } from "../../secrets/spec.ts";
import { providerContext } from "../start/provider-context.ts";
import type { Supervised } from "./supervisor-status.ts";

export interface AskedSecret {
  readonly name: string;
  readonly ref: Ref;
}

/**
 * The new values, by the secret's name. Rejects with McpRunError if any of them has no candidate of this rotation:
 * ProviderError `missing` or `conflict`.
 */
export async function fetchCandidates(
  { context, profile }: Pick<Supervised, "context" | "profile">,
  rotation: string,
  secrets: readonly AskedSecret[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Secret>> {
  const around = providerContext(context, new RecordingEnvironment(context.env));
  const pool = new ProviderPool(context.kinds, profile.providers, around);
  const documents = new Map<string, Promise<Secret>>();
  try {
    const found = secrets.map(async ({ name, ref }) => {
      const key = JSON.stringify([ref.provider, ref.request]);
      const document = documents.get(key) ?? candidateOf(pool, ref, rotation, signal);
      documents.set(key, document);
      return [name, partValue(ref, await document)] as const;
    });
    const values = await Promise.all(found);
    return new Map(values.filter((entry): entry is [string, Secret] => entry[1] !== undefined));
  } finally {
    await pool.close();
  }
}

/** For whoever has asked. */
export function aboutCandidate(rotation: string, error: unknown): unknown {
  if (!(error instanceof ProviderError)) return error;
  const { code, reason, hint } = error;
  const options = hint === undefined ? {} : { hint };
  return new McpRunError(code, `Cannot fetch the candidate of ${rotation}: ${reason}`, options);
}

/** Rejects with McpRunError; `missing` and `conflict` where none of this rotation is there. */
async function candidateOf(
  pool: ProviderPool,
  { provider: name, request }: Ref,
  rotation: string,
  signal: AbortSignal,
): Promise<Secret> {
  const { kind, provider } = await pool.open(name);
  const ref = kind.refSchema.safeParse(request);
  if (!isRotatableStore(provider) || !ref.success)
    throw new ProviderError("invalid", `no candidates lie in ${name}`);
  return (await provider.fetchCandidate(ref.data, rotation, signal)).value;
}

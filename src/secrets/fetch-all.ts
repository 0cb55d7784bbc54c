/** Asks every backend of a profile at the same time, each within its own deadline, each document once. */
import { untilAborted } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import { type Answer, type GroupAnswer, noAnswerOr } from "./answer.ts";
import type { CacheUse } from "./cache-use.ts";
import type { ProviderPool } from "./provider-pool.ts";
import type { ResolveRequest } from "./resolution.ts";
import type { Ref } from "./spec.ts";

/** @param loadCache gives the profile's cache; called only for a backend across a network */
export async function fetchAll(
  pool: ProviderPool,
  request: Pick<ResolveRequest, "secrets" | "secretsFrom" | "signal">,
  loadCache: (() => Promise<CacheUse>) | undefined,
): Promise<Map<Ref, Answer>> {
  const refs = [
    ...request.secrets.flatMap(({ source }) => (source.type === "ref" ? [source.ref] : [])),
    ...request.secretsFrom.map(({ ref }) => ref),
  ];
  const answers = new Map<Ref, Answer>();
  await Promise.all(
    [...new Set(refs.map((ref) => ref.provider))].map(async (provider) => {
      const group = refs.filter((ref) => ref.provider === provider);
      const fetched = await fetchGroup(pool, provider, group, request.signal, loadCache);
      for (const ref of group) {
        answers.set(ref, fetched instanceof ProviderError ? fetched : noAnswerOr(fetched.get(ref.request)));
      }
    }),
  );
  return answers;
}

async function fetchGroup(
  pool: ProviderPool,
  provider: string,
  group: readonly Ref[],
  signal: AbortSignal,
  loadCache: (() => Promise<CacheUse>) | undefined,
): Promise<GroupAnswer> {
  const requests = group.map(({ request }) => request);
  const asked = pool.fetch(provider, requests, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    return asProviderError(error);
  });
  if (!loadCache || !(await pool.isRemote(provider))) return asked;
  return untilAborted(signal, (await loadCache()).answer(provider, requests, asked));
}

function asProviderError(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof McpRunError) {
    const failure =
      error.code === "access-denied"
        ? "denied"
        : error.code === "backend-unavailable"
          ? "unavailable"
          : "invalid";
    return new ProviderError(failure, error.message, error.hint ? { hint: error.hint } : {});
  }
  throw error;
}

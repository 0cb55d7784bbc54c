/**
 * Asks every backend of a profile at the same time, each within its own deadline, each document once. At a refresh
 * not for what a lease keeps alive, since each fetch would mint another, and first for the version of what has one.
 */
import { untilAborted } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import { type Answer, type GroupAnswer, noAnswerOr } from "./answer.ts";
import type { CacheUse } from "./cache-use.ts";
import type { RefRequest } from "./provider.ts";
import type { ProviderPool } from "./provider-pool.ts";
import type { Document, InUse, ResolveRequest } from "./resolution.ts";
import type { Ref } from "./spec.ts";

/** @param loadCache gives the profile's cache; called only for a backend across a network */
export async function fetchAll(
  pool: ProviderPool,
  request: Pick<ResolveRequest, "secrets" | "secretsFrom" | "signal" | "inUse">,
  loadCache: (() => Promise<CacheUse>) | undefined,
): Promise<Map<Ref, Answer>> {
  const { inUse, signal } = request;
  const wanted = [
    ...request.secrets.flatMap(({ source }) => (source.type === "ref" ? [source.ref] : [])),
    ...request.secretsFrom.map(({ ref }) => ref),
  ];
  const answers = new Map<Ref, Answer>(inUse && wanted.flatMap((ref) => leased(inUse, ref)));
  const refs = wanted.filter((ref) => !answers.has(ref));
  await Promise.all(
    [...new Set(refs.map((ref) => ref.provider))].map(async (provider) => {
      const group = refs.filter((ref) => ref.provider === provider);
      const fetched = await fetchGroup(pool, provider, group, signal, loadCache, inUse);
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
  inUse: InUse | undefined,
): Promise<GroupAnswer> {
  const requests = group.map(({ request }) => request);
  const unless = inUse && {
    before: new Map(group.flatMap((ref) => checkable(inUse, ref))),
    checks: inUse.checks,
  };
  const asked = pool.fetch(provider, requests, signal, unless).catch((error: unknown) => {
    signal.throwIfAborted();
    return asProviderError(error);
  });
  asked.catch(() => undefined); // It may be given up before anybody below listens.
  if (!loadCache || !(await pool.isRemote(provider))) return asked;
  return untilAborted(signal, (await loadCache()).answer(provider, requests, asked));
}

/** What goes on as it is. */
function leased({ documents, ending }: InUse, ref: Ref): [Ref, Document][] {
  const document = documents.get(ref);
  return document?.lease && !ending.has(document.lease) ? [[ref, document]] : [];
}

/** What is fetched only if it has another version. What came from the cache may be anything by now. */
function checkable({ documents }: InUse, ref: Ref): [RefRequest, Document][] {
  const document = documents.get(ref);
  return document && !document.lease && !document.cachedSince ? [[ref.request, document]] : [];
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

/** Asks every backend of a profile at the same time, each within its own deadline, each document once. */
import { untilAborted, withDeadline } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import type { RefRequest } from "./provider.ts";
import { type Answer, noAnswerOr, type ProviderPool } from "./provider-pool.ts";
import type { ResolveRequest } from "./resolution.ts";
import type { Ref } from "./spec.ts";

/** Fetches every ref, one deadline a backend; a backend that fails as a whole fails each of its refs. */
export async function fetchAll(pool: ProviderPool, request: ResolveRequest): Promise<Map<Ref, Answer>> {
  const refs = [
    ...request.secrets.flatMap(({ source }) => (source.type === "ref" ? [source.ref] : [])),
    ...request.secretsFrom.map(({ ref }) => ref),
  ];
  const answers = new Map<Ref, Answer>();
  await Promise.all(
    [...new Set(refs.map((ref) => ref.provider))].map(async (provider) => {
      const group = refs.filter((ref) => ref.provider === provider);
      const fetched = await fetchGroup(pool, provider, group, request);
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
  { context: { clock }, signal, timeoutMs }: ResolveRequest,
): Promise<ReadonlyMap<RefRequest, Answer> | ProviderError> {
  const given = new AbortController();
  try {
    const limit = Math.max(timeoutMs, (await pool.patienceMs(provider)) ?? 0);
    const work = pool.fetch(
      provider,
      group.map(({ request }) => request),
      AbortSignal.any([signal, given.signal]),
    );
    return await untilAborted(
      signal,
      withDeadline(clock, limit, work, () => tooSlow(limit)),
    );
  } catch (error) {
    signal.throwIfAborted();
    given.abort(error);
    return asProviderError(error);
  }
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

function tooSlow(ms: number): ProviderError {
  return new ProviderError("unavailable", `no answer within ${ms / 1000} s`, {
    hint: "again, or a longer fetchTimeout in the profile",
  });
}

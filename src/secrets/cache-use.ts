/**
 * The cache in one start: what a backend out of reach can't give comes from there, and what the backends gave is
 * kept once the program runs. Never instead of «no», «not there» or «not usable», and never for a lease.
 */
import type { Clock, Timer } from "../clock.ts";
import { ProviderError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { ageText } from "./age-text.ts";
import { type Answer, type GroupAnswer, noAnswerOr } from "./answer.ts";
import type { DocumentCache } from "./document-cache.ts";
import { type BackendIdentity, type KeptDocument, keyOf } from "./kept-document.ts";
import type { RefRequest } from "./provider.ts";

/**
 * Ms that a backend has where the cache holds all that it is asked for: a client does not wait as long as a fetch
 * may take. The backend goes on being asked, so that an answer that comes later is kept.
 */
export const PATIENCE_WITH_CACHE_MS = 4_000;
const MOST_PATHS_NAMED = 3;

export interface CacheUseOptions {
  readonly cache: DocumentCache;
  /** False at a refresh: what the backend gives is kept, but a cached value is no news. */
  readonly serves: boolean;
  /** Who stands behind a provider's name. */
  readonly identityOf: (provider: string) => Promise<BackendIdentity>;
  /** The variables that say which backend a provider asks. */
  readonly placesOf: (provider: string) => readonly string[];
  readonly env: () => Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly emit: Emit;
}

/** What one backend is asked for. */
interface Group {
  readonly provider: string;
  /** Each request and its key in the cache. */
  readonly keys: ReadonlyMap<RefRequest, string>;
  readonly asked: Promise<GroupAnswer>;
  isAnswered: boolean;
  /** When it was asked, in ms by `now()`. */
  readonly since: number;
  /** What the cache gave instead, by key. */
  served: ReadonlyMap<string, KeptDocument>;
}

export class CacheUse {
  readonly #options: CacheUseOptions;
  readonly #groups: Group[] = [];

  constructor(options: CacheUseOptions) {
    this.#options = options;
  }

  /** The backend's answer, with the cache's in place of every «unavailable» that it has one for. */
  async answer(
    provider: string,
    requests: readonly RefRequest[],
    asked: Promise<GroupAnswer>,
  ): Promise<GroupAnswer> {
    const { cache, serves, clock } = this.#options;
    const since = clock.now();
    const identity = await this.#options.identityOf(provider);
    const keys = new Map(requests.map((request) => [request, keyOf(identity, request)]));
    const group: Group = { provider, keys, asked, since, isAnswered: false, served: new Map() };
    this.#groups.push(group);
    if (!serves || !cache.isThere) return asked;

    const early = this.#afterPatience(group);
    const answer = await Promise.race([asked, early.answer]).finally(early.cancel);
    const unanswered = requests.filter((request) => isUnavailable(answerTo(request, answer)));
    const [first] = unanswered.map((request) => answerTo(request, answer));
    if (!(first instanceof ProviderError)) return answer;
    const kept = await this.#find(group, unanswered);
    return kept.size === 0 ? answer : this.#serve(group, kept, answer, first);
  }

  /** When the backend gave what was served from the cache; undefined for what is fresh. */
  servedFrom(request: RefRequest): Date | undefined {
    for (const { keys, served } of this.#groups) {
      const kept = served.get(keys.get(request) ?? "");
      if (kept) return new Date(kept.fetchedAt);
    }
    return undefined;
  }

  /** Settles when every backend has said its last. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#groups.map(({ asked }) => asked));
  }

  /** What is to be kept from now on; waits for the backends that are still being asked. */
  async documents(): Promise<readonly KeptDocument[]> {
    const documents = new Map<string, KeptDocument>();
    for (const group of this.#groups) {
      const answer = await group.asked.catch(() => undefined);
      if (answer === undefined) continue;
      const env = this.#options.env();
      const places = this.#options.placesOf(group.provider);
      const environment = Object.fromEntries(places.map((name) => [name, env[name] ?? null]));
      for (const [request, key] of group.keys) {
        const fresh = { key, environment, fetchedAt: group.since };
        const own = answerTo(request, answer);
        // A backend that has said no after the cache stood in for it has said no.
        const kept = isUnavailable(own) ? group.served.get(key) : keptOf(own, fresh);
        if (kept) documents.set(key, kept);
      }
    }
    return [...documents.values()];
  }

  /** Settles when patience is over with what the cache has, if that is everything; else as the backend does. */
  #afterPatience(group: Group): { readonly answer: Promise<GroupAnswer>; cancel(): void } {
    const { clock } = this.#options;
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = clock.after(PATIENCE_WITH_CACHE_MS, resolve, { background: true });
    });
    group.asked.then(
      () => {
        group.isAnswered = true;
      },
      () => undefined, // Whoever awaits it is told.
    );
    const serveAll = async () => {
      await over;
      const kept = await this.#find(group, [...group.keys.keys()]);
      if (group.isAnswered || [...group.keys.values()].some((key) => !kept.has(key))) return group.asked;
      const slow = new ProviderError("unavailable", `no answer within ${PATIENCE_WITH_CACHE_MS / 1_000} s`);
      return this.#serve(group, kept, slow, slow);
    };
    return { answer: serveAll(), cancel: () => timer?.cancel() };
  }

  #find(group: Group, requests: readonly RefRequest[]): Promise<ReadonlyMap<string, KeptDocument>> {
    return this.#options.cache.find(requests.flatMap((request) => group.keys.get(request) ?? []));
  }

  #serve(
    group: Group,
    kept: ReadonlyMap<string, KeptDocument>,
    answer: GroupAnswer,
    trouble: ProviderError,
  ): GroupAnswer {
    group.served = kept;
    this.#announce(group, trouble);
    return new Map(
      Array.from(group.keys, ([request, key]) => {
        const own = answerTo(request, answer);
        const document = isUnavailable(own) ? kept.get(key) : undefined;
        return [request, document ? asAnswer(document) : own];
      }),
    );
  }

  #announce({ provider, keys, served }: Group, { reason, hint }: ProviderError): void {
    const { clock, emit } = this.#options;
    const requests = [...keys].filter(([, key]) => served.has(key)).map(([request]) => request);
    const paths = [...new Set(requests.map(({ path }) => `${provider}:${path}`))];
    const named = paths.slice(0, MOST_PATHS_NAMED).join(", ");
    const others = paths.length - MOST_PATHS_NAMED;
    const oldest = Math.min(...[...served.values()].map(({ fetchedAt }) => fetchedAt));
    const what = others > 0 ? `${named} and ${others} more` : named;
    emit({
      type: "warning",
      message: `${provider} is out of reach (${reason}), so the cache gives ${what}, fetched ${ageText(clock.now() - oldest)} ago`,
      ...(hint !== undefined && { hint }),
    });
  }
}

function answerTo(request: RefRequest, answer: GroupAnswer): Answer {
  return answer instanceof ProviderError ? answer : noAnswerOr(answer.get(request));
}

function isUnavailable(answer: Answer): boolean {
  return answer instanceof ProviderError && answer.failure === "unavailable";
}

/** Undefined for what is not to be kept, a lease above all. */
function keptOf(answer: Answer, base: Omit<KeptDocument, "document">): KeptDocument | undefined {
  if (answer instanceof ProviderError) return answer.failure === "missing" ? base : undefined;
  if (answer.lease || answer.isEphemeral) return undefined;
  const { value, version, place, createdAt, expiresAt } = answer;
  return {
    ...base,
    document: {
      value,
      ...(version !== undefined && { version }),
      ...(place !== undefined && { place }),
      ...(createdAt && { createdAt }),
      ...(expiresAt && { expiresAt }),
    },
  };
}

function asAnswer({ document, fetchedAt }: KeptDocument): Answer {
  if (document) return document;
  const when = new Date(fetchedAt).toISOString().slice(0, 16).replace("T", " ");
  return new ProviderError("missing", `the backend did not have it at ${when} UTC`);
}

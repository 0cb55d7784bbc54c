/**
 * Opens each provider of a profile at most once and closes them all. A provider whose settings hold refs
 * (secret zero) waits for other providers; who waits for whom is written down, so that a circle is an
 * error that names its members and never a deadlock.
 */
import { settledWithin } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import { type Answer, noAnswerOr } from "./answer.ts";
import type { Breaker, Question } from "./breaker.ts";
import { CredentialTrail } from "./credential-trail.ts";
import { pickField } from "./field.ts";
import { inTime } from "./in-time.ts";
import { type LeaseOrigin, revokeLeases } from "./lease-keeper.ts";
import type {
  FetchedSecret,
  Lease,
  Provider,
  ProviderContext,
  ProviderKind,
  ProviderKinds,
  RefRequest,
} from "./provider.ts";
import { parseRef } from "./ref.ts";
import type { Secret } from "./secret.ts";
import type { ProviderEntry, Ref } from "./spec.ts";
import type { CheckedRef, VersionChecks } from "./version-checks.ts";
import { Waiting } from "./waiting.ts";

export interface OpenProvider {
  readonly kind: ProviderKind;
  readonly provider: Provider<object>;
}

/** What a pool keeps to; one without limits waits for as long as a person at a terminal likes to. */
export interface PoolLimits {
  /** Ms that a backend may take to be opened, and again to answer. */
  readonly timeoutMs: number;
  /** Loaded and asked only for backends across a network. */
  readonly breaker?: (() => Promise<Breaker>) | undefined;
}

/** What a provider gets, apart from its own name and the way to other providers. */
export type SharedContext = Omit<ProviderContext, "name" | "resolveRef" | "credentialIs">;

/** A ref as its provider wants it, and as people know it. */
interface AskedRef extends CheckedRef {
  readonly from: string;
}

/** What is not fetched again if its version is still the same. */
export interface Unless {
  readonly before: ReadonlyMap<RefRequest, FetchedSecret>;
  readonly checks: VersionChecks;
}

/** Ms that closing may take: a backend that hangs must not keep the server waiting. */
export const CLOSE_MS = 2_000;

export class ProviderPool {
  readonly #kinds: ProviderKinds;
  readonly #entries: ReadonlyMap<string, ProviderEntry>;
  readonly #shared: SharedContext;
  readonly #limits: PoolLimits;
  readonly #opened = new Map<string, Promise<OpenProvider>>();
  readonly #credentials = new Map<string, CredentialTrail>();
  readonly #waiting = new Waiting();
  readonly #asking = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #breaker: Promise<Breaker> | undefined;
  #closed: Promise<void> | undefined;
  #leases = new Map<Lease, LeaseOrigin>();

  /** Every value that has come so far; a provider must not quote one. */
  readonly #known: Secret[] = [];
  /** Values that opened a backend (secret zero): never given to a server, but to be scrubbed. */
  readonly secretZero: { readonly name: string; readonly value: Secret }[] = [];

  constructor(
    kinds: ProviderKinds,
    entries: ReadonlyMap<string, ProviderEntry>,
    shared: SharedContext,
    limits: PoolLimits = { timeoutMs: Number.POSITIVE_INFINITY },
  ) {
    this.#kinds = kinds;
    this.#entries = entries;
    this.#shared = shared;
    this.#limits = limits;
  }

  /** Opens the provider of that name, or returns the one that is open. Rejects with McpRunError. */
  open(name: string): Promise<OpenProvider> {
    let opened = this.#opened.get(name);
    if (!opened) {
      opened = this.#openNow(name);
      this.#opened.set(name, opened);
    }
    return opened;
  }

  /**
   * Asks a provider for documents; requests that say the same are one ref, so that it is asked once.
   * Rejects with McpRunError when the provider can't be opened or none of the refs could be tried in time.
   *
   * @param unless what has the same version as before is answered as it was, the same object
   */
  async fetch(
    name: string,
    requests: readonly RefRequest[],
    signal: AbortSignal,
    unless?: Unless,
  ): Promise<ReadonlyMap<RefRequest, Answer>> {
    const work = this.#fetch(name, requests, AbortSignal.any([signal, this.#closing.signal]), unless);
    this.#asking.add(work);
    try {
      return await work;
    } finally {
      this.#asking.delete(work);
    }
  }

  /** Reads one ref, its field picked. Rejects with McpRunError. */
  async read(ref: Ref, signal: AbortSignal): Promise<FetchedSecret> {
    const answer = noAnswerOr((await this.fetch(ref.provider, [ref.request], signal)).get(ref.request));
    const value =
      answer instanceof ProviderError
        ? answer
        : ref.field
          ? pickField(answer.value, ref.field)
          : answer.value;
    if (!(value instanceof ProviderError)) return { ...(answer as FetchedSecret), value };
    throw unreadable(ref, value);
  }

  /** The kind and the settings behind a provider's name. Rejects with McpRunError if there is no such provider. */
  async kindOf(name: string): Promise<{ kind: ProviderKind; settings: Readonly<Record<string, unknown>> }> {
    const entry = this.#entries.get(name);
    const kind = await this.#kinds.load(entry?.type ?? name);
    if (!kind || (!entry && !kind.worksWithoutSettings)) {
      throw new McpRunError(
        "profile-invalid",
        `Cannot open provider ${name}: no provider of this name is set up`,
        {
          hint: `an entry "${name}:" under providers: in the profile file`,
        },
      );
    }
    return { kind, settings: entry?.settings ?? {} };
  }

  /** Values in use, which no provider may quote either. */
  hide(values: Iterable<Secret>): void {
    this.#known.push(...values);
  }

  /** True for a backend across a network; false also for one that there is not. */
  async isRemote(name: string): Promise<boolean> {
    const found = await this.kindOf(name).catch(() => undefined); // Whoever asks it is told.
    return found?.kind.isRemote ?? false;
  }

  /** The variables that say which backend the provider of that name asks, as far as it was opened. */
  placesOf(name: string): readonly string[] {
    return this.#credentialOf(name).places;
  }

  /** True if it was lent here, and nobody has taken it. */
  hasLent(lease: Lease): boolean {
    return this.#leases.has(lease);
  }

  /** Hands over the leases that have come so far: from now on their keeper revokes them. */
  takeLeases(): ReadonlyMap<Lease, LeaseOrigin> {
    const taken = this.#leases;
    this.#leases = new Map();
    return taken;
  }

  /**
   * Gives up what is still asked, revokes the leases that nobody has taken, and closes what was opened. Bounded,
   * never rejects, may be called twice.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort(new ProviderError("unavailable", "given up"));
    if (this.#asking.size > 0)
      await settledWithin(this.#shared.clock, CLOSE_MS, Promise.allSettled(this.#asking));
    await revokeLeases(this.takeLeases(), this.#shared);
    const closed = [...this.#opened.values()].map((open) => open.then(({ provider }) => provider.close()));
    await settledWithin(this.#shared.clock, CLOSE_MS, Promise.allSettled(closed));
  }

  async #fetch(
    name: string,
    requests: readonly RefRequest[],
    signal: AbortSignal,
    unless: Unless | undefined,
  ): Promise<ReadonlyMap<RefRequest, Answer>> {
    const { clock } = this.#shared;
    const { kind, settings } = await this.kindOf(name);
    const limitMs = Math.max(this.#limits.timeoutMs, kind.patienceMs ?? 0);
    const limit = { clock, limitMs, signal, isWaiting: () => this.#waiting.isWaiting(name) };
    const { provider } = await inTime(limit, () => this.open(name));

    const refs = new Map<string, AskedRef>();
    const answers = new Map<RefRequest, Answer>();
    for (const request of requests) {
      const key = JSON.stringify(request);
      if (refs.has(key)) continue;
      const result = kind.refSchema.safeParse(request);
      if (result.success) {
        const from = `${name}:${request.path}`;
        refs.set(key, { ref: result.data, key: `${name}:${key}`, from, before: unless?.before.get(request) });
      } else answers.set(request, malformed(result.error.issues[0]?.message));
    }
    if (refs.size === 0) return answers;
    const question = { type: kind.name, settings, credential: this.#credentialOf(name), requests };
    const fetched = await this.#guarded(question, kind, () =>
      inTime(limit, (limited) => this.#ask(provider, [...refs.values()], limited, unless?.checks)),
    );
    for (const request of requests) {
      const asked = refs.get(JSON.stringify(request));
      if (asked) answers.set(request, noAnswerOr(fetched.get(asked.ref)));
    }
    return answers;
  }

  async #ask(
    provider: Provider<object>,
    refs: readonly AskedRef[],
    signal: AbortSignal,
    checks: VersionChecks | undefined,
  ): Promise<ReadonlyMap<object, Answer>> {
    const same = await checks?.unchanged(provider, refs, signal);
    const changed = refs.filter(({ ref }) => !same?.has(ref));
    if (same && changed.length === 0) return same;
    const since = this.#shared.clock.now();
    const fetched = await provider.fetch(
      changed.map(({ ref }) => ref),
      signal,
    );
    for (const { ref, from } of changed) {
      const answer = fetched.get(ref);
      if (!answer || answer instanceof ProviderError) continue;
      this.#known.push(answer.value);
      // Also one that came too late for whoever asked: it is revoked at the end.
      if (answer.lease) this.#leases.set(answer.lease, { from, names: [], since });
    }
    if (this.#closing.signal.aborted) void revokeLeases(this.takeLeases(), this.#shared);
    return same ? new Map([...same, ...fetched]) : fetched;
  }

  /** Asks a backend across a network only if it has not failed again and again, and takes note of the outcome. */
  async #guarded(
    question: Question,
    { isRemote }: ProviderKind,
    ask: () => Promise<ReadonlyMap<object, Answer>>,
  ): Promise<ReadonlyMap<object, Answer>> {
    if (!isRemote || !this.#limits.breaker) return ask();
    this.#breaker ??= this.#limits.breaker();
    const breaker = await this.#breaker;
    const refused = breaker.refusal(question);
    if (refused) throw refused;
    try {
      const fetched = await ask();
      breaker.record(question, fetched);
      return fetched;
    } catch (error) {
      if (error instanceof ProviderError && !this.#closing.signal.aborted) breaker.record(question, error);
      throw error;
    }
  }

  async #openNow(name: string): Promise<OpenProvider> {
    const { kind, settings } = await this.kindOf(name);
    const config = kind.configSchema.safeParse(settings);
    if (!config.success) {
      const issue = config.error.issues[0];
      const where = issue?.path.join(".") ?? "";
      throw new McpRunError(
        "profile-invalid",
        `Cannot open provider ${name}: ${where ? `${where}: ` : ""}${issue?.message}`,
      );
    }
    const credential = this.#credentialOf(name);
    const context: ProviderContext = {
      ...this.#shared,
      name,
      env: credential.watch(this.#shared.env),
      credentialIs: (text) => credential.said(text),
      resolveRef: async (text, signal) => {
        const value = await this.#resolveFor(name, text, signal);
        credential.resolved(text, value);
        return value;
      },
      quotable: (text, values) => this.#shared.quotable(text, [...this.#known, ...values]),
    };
    const provider = await kind.open(config.data, context);
    credential.complete();
    return { kind, provider };
  }

  #credentialOf(name: string): CredentialTrail {
    const credential = this.#credentials.get(name) ?? new CredentialTrail();
    this.#credentials.set(name, credential);
    return credential;
  }

  async #resolveFor(name: string, text: string, signal: AbortSignal): Promise<Secret> {
    const parsed = parseRef(text);
    if (!parsed.ok) {
      throw new McpRunError(
        "profile-invalid",
        // Not quoted: who writes the value itself where a ref belongs has written a secret.
        `Cannot open provider ${name}: one of its settings is not a ref: ${parsed.reason}`,
      );
    }
    const needed = parsed.ref.provider;
    const circle = this.#waiting.circle(name, needed);
    if (circle) {
      throw new ProviderError(
        "invalid",
        `its settings need each other in a circle: ${[name, ...circle].join(" -> ")}`,
        {
          hint: "keeping one of these settings in another store, such as keychain: or env:",
        },
      );
    }
    const { ref } = parsed;
    const { value } = await this.#waiting.during(name, needed, () =>
      this.read(ref, signal).catch((error: unknown) => {
        // Of the other provider as a whole; it has to be named, or this one would seem to be the silent one.
        throw error instanceof ProviderError ? unreadable(ref, error) : error;
      }),
    );
    this.secretZero.push({ name: needed.toUpperCase(), value });
    return value;
  }
}

function unreadable({ text }: Ref, { code, reason, hint, details }: ProviderError): McpRunError {
  return new McpRunError(code, `Cannot read ${text}: ${reason}`, { ...(hint && { hint }), details });
}

function malformed(message = "the ref is malformed"): ProviderError {
  return new ProviderError("invalid", message);
}

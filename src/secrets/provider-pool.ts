/**
 * Opens each provider of a profile at most once and closes them all. A provider whose settings hold refs
 * (secret zero) waits for other providers; who waits for whom is written down, so that a circle is an
 * error that names its members and never a deadlock.
 */
import { McpRunError, ProviderError } from "../errors.ts";
import { pickField } from "./field.ts";
import type {
  FetchedSecret,
  Provider,
  ProviderContext,
  ProviderKind,
  ProviderKinds,
  RefRequest,
} from "./provider.ts";
import { parseRef } from "./ref.ts";
import type { Secret } from "./secret.ts";
import type { ProviderEntry, Ref } from "./spec.ts";

export interface OpenProvider {
  readonly kind: ProviderKind;
  readonly provider: Provider<object>;
}

/** What a provider gets, apart from its own name and the way to other providers. */
export type SharedContext = Omit<ProviderContext, "name" | "resolveRef" | "credentialIs">;

/** What a backend said of one ref. */
export type Answer = FetchedSecret | ProviderError;

const CLOSE_MS = 2_000;

export class ProviderPool {
  readonly #kinds: ProviderKinds;
  readonly #entries: ReadonlyMap<string, ProviderEntry>;
  readonly #shared: SharedContext;
  readonly #opened = new Map<string, Promise<OpenProvider>>();
  /** An edge A -> B: A can't be opened before B has answered. */
  readonly #waitsFor = new Map<string, Set<string>>();

  /** Every value that has come so far; a provider must not quote one. */
  readonly #known: Secret[] = [];
  /** Values that opened a backend (secret zero): never given to a server, but to be scrubbed. */
  readonly secretZero: { readonly name: string; readonly value: Secret }[] = [];

  constructor(kinds: ProviderKinds, entries: ReadonlyMap<string, ProviderEntry>, shared: SharedContext) {
    this.#kinds = kinds;
    this.#entries = entries;
    this.#shared = shared;
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
   * Rejects with McpRunError when the provider can't be opened or none of the refs could be tried.
   */
  async fetch(
    name: string,
    requests: readonly RefRequest[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<RefRequest, Answer>> {
    const { kind, provider } = await this.open(name);
    const refs = new Map<string, object>();
    const answers = new Map<RefRequest, Answer>();
    for (const request of requests) {
      const key = JSON.stringify(request);
      if (refs.has(key)) continue;
      const parsed = kind.refSchema.safeParse(request);
      if (parsed.success) refs.set(key, parsed.data);
      else
        answers.set(
          request,
          new ProviderError("invalid", parsed.error.issues[0]?.message ?? "the ref is malformed"),
        );
    }
    const fetched =
      refs.size > 0 ? await provider.fetch([...refs.values()], signal) : new Map<object, Answer>();
    for (const request of requests) {
      const ref = refs.get(JSON.stringify(request));
      if (!ref) continue;
      const answer = noAnswerOr(fetched.get(ref));
      if (!(answer instanceof ProviderError)) this.#known.push(answer.value);
      answers.set(request, answer);
    }
    return answers;
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
    throw new McpRunError(value.code, `Cannot read ${ref.text}: ${value.reason}`, {
      ...(value.hint && { hint: value.hint }),
      details: value.details,
    });
  }

  /** The longest this backend may take, where a person may have to unlock something; undefined for the usual. */
  async patienceMs(name: string): Promise<number | undefined> {
    return (await this.#kindOf(name)).kind.patienceMs;
  }

  /** Closes what was opened, in at most CLOSE_MS: a backend that hangs must not keep the server waiting. */
  async close(): Promise<void> {
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    const closed = Promise.allSettled(opened.map((open) => open.then(({ provider }) => provider.close())));
    await new Promise<void>((resolve) => {
      const timer = this.#shared.clock.after(CLOSE_MS, resolve);
      closed.finally(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  async #kindOf(name: string): Promise<{ kind: ProviderKind; settings: Readonly<Record<string, unknown>> }> {
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

  async #openNow(name: string): Promise<OpenProvider> {
    const { kind, settings } = await this.#kindOf(name);
    const config = kind.configSchema.safeParse(settings);
    if (!config.success) {
      const issue = config.error.issues[0];
      const where = issue?.path.join(".") ?? "";
      throw new McpRunError(
        "profile-invalid",
        `Cannot open provider ${name}: ${where ? `${where}: ` : ""}${issue?.message}`,
      );
    }
    const context: ProviderContext = {
      ...this.#shared,
      name,
      credentialIs: () => undefined,
      resolveRef: (text, signal) => this.#resolveFor(name, text, signal),
      quotable: (text, values) => this.#shared.quotable(text, [...this.#known, ...values]),
    };
    const provider = await kind.open(config.data, context);
    return { kind, provider };
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
    const circle = this.#pathBetween(needed, name);
    if (circle) {
      throw new ProviderError(
        "invalid",
        `its settings need each other in a circle: ${[name, ...circle].join(" -> ")}`,
        {
          hint: "keeping one of these settings in another store, such as keychain: or env:",
        },
      );
    }
    const edges = this.#waitsFor.get(name) ?? new Set();
    this.#waitsFor.set(name, edges.add(needed));
    const { value } = await this.read(parsed.ref, signal);
    this.secretZero.push({ name: needed.toUpperCase(), value });
    edges.delete(needed);
    return value;
  }

  /** The names on the way from one provider to another along who-waits-for-whom, both included. */
  #pathBetween(from: string, to: string): readonly string[] | undefined {
    if (from === to) return [to];
    for (const next of this.#waitsFor.get(from) ?? []) {
      const rest = this.#pathBetween(next, to);
      if (rest) return [from, ...rest];
    }
    return undefined;
  }
}

/** A provider owes an answer for every ref; one that gives none is broken, and that is said. */
export function noAnswerOr(answer: Answer | undefined): Answer {
  return answer ?? new ProviderError("invalid", "the provider gave no answer for it");
}

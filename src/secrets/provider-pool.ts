/**
 * Opens each provider of a profile at most once and closes them all. A provider whose settings hold refs
 * (secret zero) waits for other providers; who waits for whom is written down, so that a circle is an
 * error that names its members and never a deadlock.
 */
import { McpRunError, ProviderError } from "../errors.ts";
import type { Provider, ProviderContext, ProviderKind, ProviderKinds } from "./provider.ts";
import { parseRef } from "./ref.ts";
import type { Secret } from "./secret.ts";
import type { ProviderEntry, Ref } from "./spec.ts";

export interface OpenProvider {
  readonly kind: ProviderKind;
  readonly provider: Provider<object>;
}

/** What a provider gets, apart from its own name and the way to other providers. */
export type SharedContext = Omit<ProviderContext, "name" | "resolveRef">;

const CLOSE_MS = 2_000;

type ReadOne = (ref: Ref, open: OpenProvider, signal: AbortSignal) => Promise<Secret>;

export class ProviderPool {
  readonly #kinds: ProviderKinds;
  readonly #entries: ReadonlyMap<string, ProviderEntry>;
  readonly #shared: SharedContext;
  readonly #readOne: ReadOne;
  readonly #opened = new Map<string, Promise<OpenProvider>>();
  /** An edge A -> B: A can't be opened before B has answered. */
  readonly #waitsFor = new Map<string, Set<string>>();

  /** @param readOne fetches one ref of an open provider; rejects with McpRunError */
  constructor(
    kinds: ProviderKinds,
    entries: ReadonlyMap<string, ProviderEntry>,
    shared: SharedContext,
    readOne: ReadOne,
  ) {
    this.#kinds = kinds;
    this.#entries = entries;
    this.#shared = shared;
    this.#readOne = readOne;
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
      resolveRef: (text, signal) => this.#resolveFor(name, text, signal),
    };
    const provider = await kind.open(config.data, context);
    return { kind, provider };
  }

  async #resolveFor(name: string, text: string, signal: AbortSignal): Promise<Secret> {
    const parsed = parseRef(text);
    if (!parsed.ok) {
      throw new McpRunError(
        "profile-invalid",
        `Cannot open provider ${name}: its setting "${text}" is not a ref: ${parsed.reason}`,
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
    const value = await this.#readOne(parsed.ref, await this.open(needed), signal);
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

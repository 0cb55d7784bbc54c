/**
 * The keychain as the rest of mcp-run sees it. It compares and sets as far as a keychain can: among the mcp-runs of
 * one user, under a lock that no other program knows.
 */
import { hostname } from "node:os";
import { ProviderError } from "../../src/errors.ts";
import {
  type Candidate,
  type CandidateMark,
  type FetchedSecret,
  type Keychain,
  type ProviderContext,
  placeAt,
  type RotatableStore,
  type StoredEntry,
} from "../../src/secrets/provider.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { askHelper, UNLOCK_MS } from "./ask-helper.ts";
import { readByAttributes } from "./by-attributes.ts";
import { helperEnvironment, needsSessionBus } from "./environment.ts";
import { itemPath, itemPlace, parseItemPath } from "./item-path.ts";
import { KeychainItems, textOf } from "./items.ts";
import type { HelperItem, ItemAnswer } from "./protocol.ts";
import { itemOf, NOTES, readMark, readPromotion, type Slot, VERSION_KEY } from "./side-items.ts";
import * as steps from "./steps.ts";
import { troubleError } from "./trouble.ts";
import { newVersionKey, versionName } from "./version-name.ts";

const PROBE_MS = 4_000;
/** CRED_MAX_CREDENTIAL_BLOB_SIZE of Windows; the library stores UTF-16. */
const WINDOWS_BYTES = 2_560;

export interface KeychainRef {
  readonly path: string;
  readonly version?: string | undefined;
  /** Linux: the attributes of an item that another program has made. */
  readonly attributes?: Readonly<Record<string, string>> | undefined;
  /** Windows: the target name of a credential that another program has made. */
  readonly target?: string | undefined;
}

export class OsKeychain implements Keychain, RotatableStore<KeychainRef> {
  readonly #context: ProviderContext;
  readonly #items: KeychainItems;

  constructor(context: ProviderContext) {
    this.#context = context;
    this.#items = new KeychainItems(context);
  }

  async isUsable(signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    try {
      const env = await helperEnvironment(this.#context);
      if (!this.#needsBus) return true;
      const reply = await askHelper(this.#context, { operation: "probe" }, env, signal, PROBE_MS);
      return reply.type !== "trouble";
    } catch (error) {
      if (error instanceof ProviderError) return false;
      throw error;
    }
  }

  async fetch(
    refs: readonly KeychainRef[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<KeychainRef, FetchedSecret | ProviderError>> {
    signal.throwIfAborted();
    if (refs.length === 0) return new Map();
    const env = await helperEnvironment(this.#context);
    const found = new Map<KeychainRef, ItemAnswer | ProviderError>();
    for (const ref of refs) {
      if (!this.#needsBus || !ref.attributes) continue;
      found.set(ref, await readByAttributes(ref.attributes, this.#context, env, UNLOCK_MS, signal));
    }
    const native = refs.filter((ref) => !found.has(ref));
    const pinned = native.filter(({ version }) => version !== undefined);
    const items = [
      ...native.map((ref) => this.#item(ref)),
      ...pinned.map((ref) => itemOf("previous", this.#item(ref), this.#pathOf(ref))),
    ];
    // The key only names what was found: where there is nothing to name, it is not asked for.
    const isAllTrouble = native.length === 0 && [...found.values()].every(isTrouble);
    const answers = isAllTrouble ? [] : await this.#items.get([...items, VERSION_KEY], signal);
    native.forEach((ref, index) => {
      found.set(ref, answers[index] ?? { type: "missing" });
    });
    const key = textOf(answers.at(-1));
    return new Map(
      refs.map((ref) => {
        const index = pinned.indexOf(ref);
        const previous = index < 0 ? undefined : textOf(answers[native.length + index]);
        return [ref, this.#fetched(ref, found.get(ref), previous, key)];
      }),
    );
  }

  async currentVersion(ref: KeychainRef, signal: AbortSignal): Promise<string | undefined> {
    const answer = (await this.fetch([ref], signal)).get(ref);
    if (answer instanceof ProviderError && answer.failure !== "missing") throw answer;
    if (!answer || answer instanceof ProviderError) return undefined;
    if (answer.version !== undefined) return answer.version;
    const key = await this.#items.locked(signal, async () => {
      const [present] = await this.#items.texts([VERSION_KEY], signal);
      if (present !== undefined) return present;
      const made = newVersionKey();
      await this.#items.change([{ item: VERSION_KEY, value: made }], signal);
      return made;
    });
    return versionName(key, this.#nameOf(ref), answer.value.reveal());
  }

  async put(
    ref: KeychainRef,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: { readonly version: string | undefined },
  ): Promise<{ readonly version: string }> {
    this.#refuseIfTooLarge(value);
    // What is there need not be readable to be overwritten.
    const read: readonly Slot[] = onlyIf ? ["value"] : [];
    return this.#step(ref, signal, (held, at) => steps.put(held, value.reveal(), at, onlyIf), read);
  }

  async remove(ref: KeychainRef, signal: AbortSignal): Promise<boolean> {
    this.#refuseIfReadOnly(ref);
    return this.#items.locked(signal, async () => {
      const [present] = await this.#items.get([this.#item(ref)], signal);
      // What can't be read because it is no text can be removed.
      if (present?.type === "trouble" && present.trouble !== "not-text") throw troubleError(present);
      await this.#write(ref, steps.REMOVAL, signal);
      return present?.type !== "missing";
    });
  }

  /** The items that mcp-run has written and nobody has removed since. */
  async list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    const notes = (await this.#items.list(NOTES, signal))
      .filter(({ account }) => parseItemPath(account) !== undefined)
      .map(({ account, value }) => ({ path: account, at: new Date(value) }));
    const present = await this.fetch(notes, signal);
    return notes.flatMap((note) => {
      const found = present.get(note);
      const isThere = !(found instanceof ProviderError);
      if (!isThere && found.failure === "missing") return [];
      const isDated = !Number.isNaN(note.at.getTime());
      return [
        {
          path: note.path,
          ...(isThere && found?.version !== undefined && { version: found.version }),
          ...(isDated && { updatedAt: note.at }),
        },
      ];
    });
  }

  async findCandidate(ref: KeychainRef, signal: AbortSignal): Promise<Candidate | undefined> {
    return (await this.#held(ref, signal)).mark;
  }

  async putCandidate(
    ref: KeychainRef,
    value: Secret,
    mark: CandidateMark,
    signal: AbortSignal,
  ): Promise<Candidate> {
    this.#refuseIfTooLarge(value);
    return this.#step(ref, signal, (held) => steps.putCandidate(held, value.reveal(), mark));
  }

  async fetchCandidate(ref: KeychainRef, rotationId: string, signal: AbortSignal): Promise<FetchedSecret> {
    return { value: new Secret(steps.candidateOf(await this.#held(ref, signal), rotationId)) };
  }

  async promote(
    ref: KeychainRef,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return this.#step(ref, signal, (held, at) => steps.promote(held, rotationId, planned, at));
  }

  async discard(ref: KeychainRef, rotationId: string, signal: AbortSignal): Promise<boolean> {
    return this.#step(ref, signal, (held) => steps.discard(held, rotationId));
  }

  async restore(
    ref: KeychainRef,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }> {
    return this.#step(ref, signal, (held, at) => steps.restore(held, version, planned, at));
  }

  async retire(ref: KeychainRef, version: string, signal: AbortSignal): Promise<boolean> {
    return this.#step(ref, signal, (held) => steps.retire(held, version));
  }

  async close(): Promise<void> {
    // The helper lives for one request, and ends with its signal.
  }

  get #needsBus(): boolean {
    return needsSessionBus(this.#context.platform);
  }

  /** Writes what `decide` makes of the entry and its side items, while no other mcp-run of this user writes. */
  async #step<T>(
    ref: KeychainRef,
    signal: AbortSignal,
    decide: (held: steps.Held, at: string) => steps.Step<T>,
    read?: readonly Slot[],
  ): Promise<T> {
    this.#refuseIfReadOnly(ref);
    return this.#items.locked(signal, async () => {
      const held = await this.#held(ref, signal, read);
      const { changes, result } = decide(held, new Date(this.#context.clock.now()).toISOString());
      const key = held.isKeyNew ? ([["key", held.key]] as const) : [];
      if (changes.length > 0) await this.#write(ref, [...key, ...changes], signal);
      return result;
    });
  }

  async #write(ref: KeychainRef, changes: readonly steps.Change[], signal: AbortSignal): Promise<void> {
    const [entry, path] = [this.#item(ref), this.#pathOf(ref)];
    await this.#items.change(
      changes.map(([slot, value]) => ({ item: itemOf(slot, entry, path), value })),
      signal,
    );
  }

  /** @param read what is looked at; the rest is as if it were not there */
  async #held(
    ref: KeychainRef,
    signal: AbortSignal,
    read: readonly Slot[] = ["value", "previous", "mark", "candidate", "promoted"],
  ): Promise<steps.Held & { readonly key: string; readonly isKeyNew: boolean }> {
    this.#refuseIfReadOnly(ref);
    const [entry, path] = [this.#item(ref), this.#pathOf(ref)];
    const slots: readonly Slot[] = [...read, "key"];
    const texts = await this.#items.texts(
      slots.map((slot) => itemOf(slot, entry, path)),
      signal,
    );
    const held = Object.fromEntries(slots.map((slot, index) => [slot, texts[index]]));
    const key = held.key ?? newVersionKey();
    return {
      path,
      value: held.value,
      previous: held.previous,
      candidate: held.candidate,
      mark: held.mark === undefined ? undefined : readMark(held.mark, path),
      promoted: held.promoted === undefined ? undefined : readPromotion(held.promoted),
      nameOf: (value) => versionName(key, path, value),
      key,
      isKeyNew: held.key === undefined,
    };
  }

  #item(ref: KeychainRef): HelperItem {
    const { loginName, platform } = this.#context;
    const parsed = parseItemPath(ref.path);
    if (!parsed) throw new Error("a keychain ref went past its schema");
    const item = { service: parsed.service, account: parsed.account ?? loginName() };
    if (platform !== "win32" || ref.target === undefined) return item;
    return { ...item, target: ref.target, accountGiven: parsed.account !== undefined };
  }

  #pathOf(ref: KeychainRef): string {
    return itemPath(this.#item(ref), this.#context.loginName());
  }

  /** What a version's name is bound to: the one path of an item, or how else it was asked for. */
  #nameOf(ref: KeychainRef): string {
    return this.#isForeign(ref) ? JSON.stringify([ref.path, ref.attributes, ref.target]) : this.#pathOf(ref);
  }

  /**
   * @param answer what the keychain said of the item
   * @param previous the value before it, where a version is asked for
   * @param key undefined while this keychain names no versions
   */
  #fetched(
    ref: KeychainRef,
    answer: ItemAnswer | ProviderError | undefined,
    previous: string | undefined,
    key: string | undefined,
  ): FetchedSecret | ProviderError {
    if (answer instanceof ProviderError) return answer;
    if (answer?.type === "trouble") return troubleError(answer);
    if (answer?.type !== "value") {
      return new ProviderError("missing", "the keychain has no such item", {
        hint: `mcp-run secrets set keychain:${ref.path}`,
      });
    }
    const nameOf = (value: string) =>
      key === undefined ? undefined : versionName(key, this.#nameOf(ref), value);
    const place = this.#isForeign(ref) ? {} : placeAt(itemPlace(hostname(), this.#item(ref)));
    const wanted = ref.version ?? nameOf(answer.value);
    if (wanted === undefined) return { value: new Secret(answer.value), ...place };
    for (const value of [answer.value, previous]) {
      if (value !== undefined && nameOf(value) === wanted)
        return { value: new Secret(value), version: wanted, ...place };
    }
    return new ProviderError("missing", `the keychain no longer has version ${wanted} of it`, {
      hint: "the ref without version: a keychain keeps the current value, and after a rotation the one before",
    });
  }

  #isForeign({ attributes, target }: KeychainRef): boolean {
    const { platform } = this.#context;
    return (this.#needsBus && attributes !== undefined) || (platform === "win32" && target !== undefined);
  }

  #refuseIfReadOnly(ref: KeychainRef): void {
    if (this.#isForeign(ref)) {
      throw new ProviderError("invalid", "an item of another program is only read, never written");
    }
    if (ref.version === undefined) return;
    throw new ProviderError("invalid", "a version can't be written or removed by itself", {
      hint: "the same without version:",
    });
  }

  #refuseIfTooLarge(value: Secret): void {
    if (this.#context.platform !== "win32") return;
    if (Buffer.byteLength(value.reveal(), "utf16le") > WINDOWS_BYTES) {
      throw troubleError({ trouble: "too-large" });
    }
  }
}

function isTrouble(answer: ItemAnswer | ProviderError): boolean {
  return answer instanceof ProviderError || answer.type !== "value";
}

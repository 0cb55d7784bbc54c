/**
 * `keychain:SERVICE[/ACCOUNT]`: the OS keychain (Secret Service, macOS Keychain, Windows Credential Manager).
 * The native library runs in a helper process, so that an unlock dialog nobody answers can be given up. Items
 * are the same that the platform's own tools write and read.
 */
import * as z from "zod/mini";
import { ProviderError } from "../src/errors.ts";
import type {
  FetchedSecret,
  Keychain,
  KeychainItem,
  ProviderContext,
  ProviderKind,
  StoredEntry,
} from "../src/secrets/provider.ts";
import { Secret } from "../src/secrets/secret.ts";
import { askHelper, UNLOCK_MS } from "./keychain/ask-helper.ts";
import { readByAttributes } from "./keychain/by-attributes.ts";
import { helperEnvironment, needsSessionBus } from "./keychain/environment.ts";
import { itemPath, parseItemPath } from "./keychain/item-path.ts";
import type { HelperItem, HelperReply, HelperRequest, ItemAnswer } from "./keychain/protocol.ts";
import { troubleError } from "./keychain/trouble.ts";

const PROBE_MS = 4_000;
/** CRED_MAX_CREDENTIAL_BLOB_SIZE of Windows; the library stores UTF-16. */
const WINDOWS_BYTES = 2_560;

const name = z.string().check(z.minLength(1), z.regex(/^[^\0]*$/));

const refSchema = z.strictObject({
  path: z
    .string()
    .check(
      z.refine(
        (path) => parseItemPath(path) !== undefined,
        "write keychain:SERVICE or keychain:SERVICE/ACCOUNT",
      ),
    ),
  /** Linux: the attributes of an item that another program has made. */
  attributes: z.optional(
    z
      .record(name, name)
      .check(z.refine((attributes) => Object.keys(attributes).length > 0, "attributes: names at least one")),
  ),
  /** Windows: the target name of a credential that another program has made. */
  target: z.optional(name),
});

type KeychainRef = z.infer<typeof refSchema> & KeychainItem;

export interface KeychainKind extends ProviderKind<object, KeychainRef> {
  open(config: object, context: ProviderContext): Promise<OsKeychain>;
}

export const keychainKind: KeychainKind = {
  name: "keychain",
  worksWithoutSettings: true,
  // Longer than the wait for an unlock, whose own words say more.
  patienceMs: UNLOCK_MS + 5_000,
  configSchema: z.strictObject({}),
  refSchema,
  open: async (_config, context) => new OsKeychain(context),
};

class OsKeychain implements Keychain {
  readonly #context: ProviderContext;

  constructor(context: ProviderContext) {
    this.#context = context;
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
    const answers = new Map<KeychainRef, FetchedSecret | ProviderError>();
    if (refs.length === 0) return answers;
    const env = await helperEnvironment(this.#context);
    const native: KeychainRef[] = [];
    for (const ref of refs) {
      if (this.#needsBus && ref.attributes) {
        answers.set(ref, await readByAttributes(ref.attributes, this.#context, env, UNLOCK_MS, signal));
      } else native.push(ref);
    }
    if (native.length === 0) return answers;
    const items = native.map((ref) => this.#helperItem(ref));
    const reply = await askHelper(this.#context, { operation: "get", items }, env, signal);
    if (reply.type !== "answers") throw unexpected(reply);
    native.forEach((ref, index) => {
      answers.set(ref, fetched(reply.answers[index], ref));
    });
    return answers;
  }

  async put(ref: KeychainRef, value: Secret, signal: AbortSignal): Promise<{ readonly version?: string }> {
    const { platform, clock } = this.#context;
    if (platform === "win32" && Buffer.byteLength(value.reveal(), "utf16le") > WINDOWS_BYTES) {
      throw troubleError({ trouble: "too-large" });
    }
    await this.#change(ref, signal, (item, path) => ({
      operation: "put",
      item,
      path,
      value: value.reveal(),
      at: new Date(clock.now()).toISOString(),
    }));
    return {};
  }

  async remove(ref: KeychainRef, signal: AbortSignal): Promise<boolean> {
    return this.#change(ref, signal, (item, path) => ({ operation: "remove", item, path }));
  }

  /** The items that mcp-run has written and nobody has removed since. */
  async list(signal: AbortSignal): Promise<readonly StoredEntry[]> {
    signal.throwIfAborted();
    const env = await helperEnvironment(this.#context);
    const reply = await askHelper(this.#context, { operation: "list" }, env, signal);
    if (reply.type !== "notes") throw unexpected(reply);
    const refs = reply.notes.filter(({ path }) => refSchema.safeParse({ path }).success);
    const present = await this.fetch(refs, signal);
    return refs.flatMap((note) => {
      const found = present.get(note);
      if (found instanceof ProviderError && found.failure === "missing") return [];
      const at = new Date(note.at);
      return [{ path: note.path, ...(!Number.isNaN(at.getTime()) && { updatedAt: at }) }];
    });
  }

  async close(): Promise<void> {
    // The helper lives for one request, and ends with its signal.
  }

  get #needsBus(): boolean {
    return needsSessionBus(this.#context.platform);
  }

  #helperItem(ref: KeychainRef): HelperItem {
    const { loginName, platform } = this.#context;
    const parsed = parseItemPath(ref.path);
    if (!parsed) throw new Error("a keychain ref went past its schema");
    const item = { service: parsed.service, account: parsed.account ?? loginName() };
    if (platform !== "win32" || ref.target === undefined) return item;
    return { ...item, target: ref.target, accountGiven: parsed.account !== undefined };
  }

  /** True if the item was there. */
  async #change(
    ref: KeychainRef,
    signal: AbortSignal,
    request: (item: HelperItem, path: string) => HelperRequest,
  ): Promise<boolean> {
    signal.throwIfAborted();
    const item = this.#helperItem(ref);
    if (item.target !== undefined || (this.#needsBus && ref.attributes)) {
      throw new ProviderError("invalid", "an item of another program is only read, never written");
    }
    const env = await helperEnvironment(this.#context);
    const reply = await askHelper(
      this.#context,
      request(item, itemPath(item, this.#context.loginName())),
      env,
      signal,
    );
    if (reply.type !== "done") throw unexpected(reply);
    return reply.found;
  }
}

function fetched(answer: ItemAnswer | undefined, { path }: KeychainRef): FetchedSecret | ProviderError {
  switch (answer?.type) {
    case "value":
      return { value: new Secret(answer.value) };
    case "trouble":
      return troubleError(answer);
    default:
      return new ProviderError("missing", `the keychain has no such item`, {
        hint: `mcp-run secrets set keychain:${path}`,
      });
  }
}

function unexpected(reply: HelperReply): ProviderError {
  return troubleError(
    reply.type === "trouble" ? reply : { trouble: "failed", detail: "its helper program gave no answer" },
  );
}

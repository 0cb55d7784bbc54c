/**
 * The helper's side: does one request with the native library. On Linux every entry is pinned to the Secret
 * Service, since the library would fall back to the kernel's keyring without a word, which forgets.
 */
import type { Failure, HelperItem, HelperReply, HelperRequest, ItemAnswer, Trouble } from "./protocol.ts";

/** What is used of @napi-rs/keyring. */
export interface KeyringLibrary {
  readonly Entry: new (
    service: string,
    username: string,
    options: { linux: { store: "secret-service" } },
  ) => KeyringEntry;
  /** On Windows `target` filters by target name; elsewhere it is ignored. Prompts for nothing. */
  findCredentials(service: string, target?: string): readonly { account: string; password: string }[];
}

export interface KeyringEntry {
  getPassword(): string | null;
  setPassword(password: string): void;
  deletePassword(): boolean;
}

const DETAIL_CHARACTERS = 160;

/** Never throws. */
export function answer(library: KeyringLibrary, request: HelperRequest): HelperReply {
  const entry = (service: string, account: string) =>
    new library.Entry(service, account, { linux: { store: "secret-service" } });

  const get = (item: HelperItem): ItemAnswer => {
    const value =
      item.target === undefined
        ? entry(item.service, item.account).getPassword()
        : byTarget(library, item, item.target);
    return value === null ? { type: "missing" } : { type: "value", value };
  };

  const perform = (): HelperReply => {
    switch (request.operation) {
      case "probe":
        entry("mcp-run", "probe");
        return { type: "done" };
      case "get":
        return { type: "answers", answers: getAll(request.items, get) };
      case "change":
        for (const { item, value } of request.changes) {
          const changed = entry(item.service, item.account);
          if (value === null) changed.deletePassword();
          else changed.setPassword(value);
        }
        return { type: "done" };
      case "list":
        return {
          type: "items",
          items: library
            .findCredentials(request.service)
            .map(({ account, password }) => ({ account, value: password })),
        };
    }
  };

  try {
    return perform();
  } catch (error) {
    return failureOf(error);
  }
}

/** One after the other, and not beyond a locked one: each would open a dialog of its own. */
function getAll(items: readonly HelperItem[], get: (item: HelperItem) => ItemAnswer): ItemAnswer[] {
  let stop: Failure | undefined;
  return items.map((item) => {
    if (stop) return stop;
    try {
      return get(item);
    } catch (error) {
      const failure = failureOf(error);
      if (failure.trouble !== "ambiguous" && failure.trouble !== "not-text") stop = failure;
      return failure;
    }
  });
}

/** Reads by search: the library's own way to a target makes an empty credential first. */
function byTarget(library: KeyringLibrary, item: HelperItem, target: string): string | null {
  const found = library
    .findCredentials(item.service, target)
    .filter(({ account }) => !item.accountGiven || account === item.account);
  if (found.length > 1) throw new Error("matched by several credentials");
  return found[0]?.password ?? null;
}

/** By the words of keyring-core's errors, dbus-secret-service's, macOS's OSStatus texts and Windows' codes. */
const TROUBLES: readonly (readonly [RegExp, Trouble])[] = [
  [/NO_SUCH_LOGON_SESSION/, "no-session"],
  // errSecAuthFailed: «Deny» in the dialog; errSecNotAvailable, errSecNoSuchKeychain, errSecNoDefaultKeychain.
  [/(user ?name or|name or the) passphrase you entered|passphrase .*is not correct/i, "refused"],
  [/no keychain is available|keychain could not be found/i, "no-collection"],
  [
    /prompt was dismissed|object locked|locked object|IsLocked|interaction is not allowed|cancell?ed/i,
    "locked",
  ],
  [/no result found/i, "no-collection"],
  [/did not receive a reply|NoReply|timed? ?out/i, "silent"],
  [/matched by/i, "ambiguous"],
  [/longer than|too long/i, "too-large"],
  [/utf-?8|utf-?16|encod/i, "not-text"],
  [/D-?Bus|Secret Service provider/i, "absent"],
  [/^Couldn't access platform storage/i, "locked"],
];

/** What kind of trouble the library's error is; an error of an unknown kind is `failed`, with its words as detail. */
export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : "";
  const trouble = TROUBLES.find(([words]) => words.test(message))?.[1] ?? "failed";
  const detail = message.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, " ").slice(0, DETAIL_CHARACTERS);
  return { type: "trouble", trouble, ...(detail !== "" && { detail }) };
}

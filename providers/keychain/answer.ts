/**
 * The helper's side: does one request with the native library. On Linux every entry is pinned to the Secret
 * Service, since the library would fall back to the kernel's keyring without a word, which forgets.
 */
import {
  type Failure,
  type HelperItem,
  type HelperReply,
  type HelperRequest,
  type ItemAnswer,
  NOTES,
  type Trouble,
} from "./protocol.ts";

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
        entry(NOTES, "probe");
        return { type: "done", found: true };
      case "get":
        return { type: "answers", answers: getAll(request.items, get) };
      case "put":
        // Noted first: a note without its item is left out of the list, an item without a note is lost to it.
        entry(NOTES, request.path).setPassword(request.at);
        entry(request.item.service, request.item.account).setPassword(request.value);
        return { type: "done", found: true };
      case "remove": {
        const found = entry(request.item.service, request.item.account).deletePassword();
        entry(NOTES, request.path).deletePassword();
        return { type: "done", found };
      }
      case "list":
        return {
          type: "notes",
          notes: library
            .findCredentials(NOTES)
            .map(({ account, password }) => ({ path: account, at: password })),
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

/** By the words of keyring-core's errors, dbus-secret-service's and macOS's OSStatus texts. */
const TROUBLES: readonly (readonly [RegExp, Trouble])[] = [
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

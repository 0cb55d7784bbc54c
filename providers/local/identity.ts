/**
 * Finds this machine's identities, in the order MCP_RUN_AGE_KEY, identity file, keychain; a setting that is a
 * ref replaces all of them. A source is asked only when those before it did not fit. Reading never makes one.
 */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { shellWord } from "../../src/shell-word.ts";
import { type Identity, parseIdentities } from "./age/keys.ts";
import type { LocalSettings, Places } from "./places.ts";
import { readFileBounded } from "./read-file.ts";

export const KEY_VARIABLE = "MCP_RUN_AGE_KEY";
const MAX_IDENTITY_FILE_BYTES = 64 * 1024;

export interface IdentitySource {
  readonly type: "variable" | "file" | "keychain" | "ref";
  /** For messages: the variable, the path, the keychain's item or the ref. */
  readonly where: string;
  /** The first is the one in use; the others open older copies of the store. */
  readonly identities: readonly [Identity, ...Identity[]];
}

export interface IdentitySearch {
  readonly settings: LocalSettings;
  readonly places: Places;
  readonly context: ProviderContext;
}

/** Throws ProviderError (or what a ref's provider throws) for a source that is there and can't be used. */
export async function* identitySources(
  { settings, places, context }: IdentitySearch,
  signal: AbortSignal,
): AsyncGenerator<IdentitySource> {
  const setting = settings.identity ?? "auto";
  if (setting.includes(":")) {
    const text = (await context.resolveRef(setting, signal)).reveal();
    yield { type: "ref", where: setting, identities: parsed(text, setting) };
    return;
  }
  const variable = context.env.get(KEY_VARIABLE);
  if (variable?.trim()) {
    yield { type: "variable", where: KEY_VARIABLE, identities: parsed(variable, KEY_VARIABLE) };
  }
  if (setting !== "keychain") {
    const text = readIdentityFile(places.identityFile, context);
    if (text !== undefined) {
      yield { type: "file", where: places.identityFile, identities: parsed(text, places.identityFile) };
    }
  }
  if (setting !== "file") {
    const text = await readKeychain(places.keychainItem, context, signal);
    if (text !== undefined) {
      const where = `keychain:${places.keychainItem}`;
      yield { type: "keychain", where, identities: parsed(text, where) };
    }
  }
}

/** The source whose first identity is this machine's own, or undefined if there is none yet. */
export async function ownIdentity(
  search: IdentitySearch,
  signal: AbortSignal,
): Promise<IdentitySource | undefined> {
  for await (const source of identitySources(search, signal)) return source;
  return undefined;
}

function parsed(text: string, where: string): readonly [Identity, ...Identity[]] {
  const identities = parseIdentities(text);
  if (identities) return identities;
  throw new ProviderError("invalid", `${where} holds no age identity (AGE-SECRET-KEY-1…)`, {
    hint: "the whole text of a file that age-keygen made, or its last line",
  });
}

function readIdentityFile(path: string, context: ProviderContext): string | undefined {
  const content = readFileBounded(path, MAX_IDENTITY_FILE_BYTES);
  if (!content) return undefined;
  if (context.platform !== "win32" && (content.mode & 0o077) !== 0) {
    const mode = content.mode.toString(8).padStart(4, "0");
    throw new ProviderError("denied", `others can read the identity file ${path} (mode ${mode})`, {
      hint: `chmod 600 ${shellWord(path)}`,
    });
  }
  return content.bytes.toString();
}

async function readKeychain(
  item: string,
  context: ProviderContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  const keychain = await context.keychain();
  if (!keychain) return undefined;
  const ref = { path: item };
  const found = (await keychain.fetch([ref], signal)).get(ref);
  if (found instanceof ProviderError) {
    if (found.failure === "missing") return undefined;
    throw new ProviderError(
      found.failure,
      `the keychain does not give the store's identity: ${found.reason}`,
      {
        ...(found.hint !== undefined && { hint: found.hint }),
      },
    );
  }
  return found?.value.reveal();
}

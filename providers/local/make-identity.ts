/**
 * Makes this machine's identity at the first write, and its successor at a rekey. It is kept in the OS
 * keychain where there is one, else in a 0600 file in another directory than the ciphertext, and said so.
 */
import { dirname } from "node:path";
import { ProviderError } from "../../src/errors.ts";
import { Secret } from "../../src/secrets/secret.ts";
import { type Identity, parseIdentity, recipientOf } from "./age/keys.ts";
import { generateIdentity } from "./age/seal.ts";
import type { IdentitySearch, IdentitySource } from "./identity.ts";
import { ensurePrivateDirectory, replaceFile } from "./replace-file.ts";

/** Former identities that are kept beside the one in use, so that older copies of the store open too. */
const KEPT_FORMER = 4;

/** Throws ProviderError if there is no place to keep it. */
export async function makeIdentity(search: IdentitySearch, signal: AbortSignal): Promise<void> {
  const identity = await newIdentity();
  const { settings, places, context } = search;
  const setting = settings.identity ?? "auto";
  const keychain = setting === "file" ? undefined : await context.keychain();
  if (setting === "keychain" && !keychain) {
    throw new ProviderError(
      "unavailable",
      "this machine has no OS keychain to keep the store's identity in",
      {
        hint: `identity: file in the settings of ${context.name}`,
      },
    );
  }
  const made = `made a new identity for the store ${context.name} (public key ${recipientOf(identity)})`;
  if (keychain) {
    await keepInKeychain(search, [identity], signal);
    context.emit({
      type: "notice",
      message: `${made}; it is kept in the OS keychain as ${places.keychainItem}, and without it the store can't be read`,
    });
  } else {
    await keepInFile(search, [identity]);
    const why = setting === "file" ? "" : ", because there is no OS keychain";
    context.emit({
      type: "notice",
      message: `${made}; it is kept in ${places.identityFile}${why}: back it up, without it the store can't be read`,
    });
  }
}

/** Puts a new identity before those of `source` and returns it. Throws ProviderError. */
export async function renewIdentity(
  search: IdentitySearch,
  source: IdentitySource,
  signal: AbortSignal,
): Promise<Identity> {
  if (source.type === "variable" || source.type === "ref") {
    throw new ProviderError(
      "invalid",
      `our identity comes from ${source.where}, where it can't be replaced`,
      {
        hint: "age-keygen for a new one there, then recipients add and recipients rm with the two public keys",
      },
    );
  }
  const identity = await newIdentity();
  const all = [identity, ...source.identities.slice(0, KEPT_FORMER)];
  if (source.type === "keychain") await keepInKeychain(search, all, signal);
  else await keepInFile(search, all);
  return identity;
}

async function newIdentity(): Promise<Identity> {
  const identity = parseIdentity(await generateIdentity());
  if (!identity) throw new Error("the library made an identity that it could not have made");
  return identity;
}

async function keepInKeychain(
  { places, context }: IdentitySearch,
  identities: readonly Identity[],
  signal: AbortSignal,
): Promise<void> {
  const keychain = await context.keychain();
  const item = { path: places.keychainItem };
  const text = new Secret(identities.map((identity) => identity.text.reveal()).join("\n"));
  await keychain?.put(item, text, signal);
  const kept = (await keychain?.fetch([item], signal))?.get(item);
  if (kept && !(kept instanceof ProviderError) && kept.value.equals(text)) return;
  throw new ProviderError("unavailable", `the OS keychain did not keep the item ${places.keychainItem}`, {
    hint: `identity: file in the settings of ${context.name}`,
  });
}

/** Writes age-keygen's file format. */
async function keepInFile(
  { places, context }: IdentitySearch,
  identities: readonly Identity[],
): Promise<void> {
  const directory = dirname(places.identityFile);
  if (dirname(places.store) === directory) {
    throw new ProviderError("invalid", `${places.store} lies in the directory of its own identity`, {
      hint: "another place by file: in the provider's settings, so that a copy of one is not a copy of both",
    });
  }
  const now = new Date(context.clock.now()).toISOString();
  const blocks = identities.map((identity, index) => {
    const state = index === 0 ? `created: ${now}` : "former, opens older copies of the store";
    return `# ${state}\n# public key: ${recipientOf(identity)}\n${identity.text.reveal()}\n`;
  });
  await ensurePrivateDirectory(directory);
  await replaceFile(places.identityFile, { bytes: Buffer.from(blocks.join("")), mode: 0o600 });
}

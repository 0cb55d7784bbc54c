/** For whom a write encrypts: the pinned recipients and our own key, which is pinned at the first write. */
import { dirname } from "node:path";
import { ProviderError } from "../../src/errors.ts";
import type { AgeHeader } from "./age/header.ts";
import { recipientOf } from "./age/keys.ts";
import { type IdentitySearch, ownIdentity } from "./identity.ts";
import { readPinned, withRecipient } from "./recipients.ts";
import { ensurePrivateDirectory, replaceFile } from "./replace-file.ts";

export interface PinnedForWrite {
  /** `age1…`; never empty. */
  readonly keys: ReadonlySet<string>;
  readonly own: string;
  /** The file's text. */
  readonly text: string;
}

/**
 * Throws ProviderError `denied` if the store is shared and this machine has no list of its recipients: a write
 * would lock the others out.
 * @param previous the header of the store as it is
 */
export async function pinnedForWrite(
  search: IdentitySearch,
  previous: AgeHeader | undefined,
  signal: AbortSignal,
): Promise<PinnedForWrite> {
  const { places, context } = search;
  const source = await ownIdentity(search, signal);
  if (!source) throw new Error("a write without an identity");
  const own = recipientOf(source.identities[0]);
  const pinned = readPinned(places.recipientsFile, context);
  if (!pinned) {
    if (previous && previous.stanzas.length > 1) {
      const reason = `${places.store} is shared by ${previous.stanzas.length} keys, and the list of them, ${places.recipientsFile}, does not exist`;
      throw new ProviderError("denied", reason, {
        hint: "a copy of that file from a machine that writes the store, or recipients: with its path",
      });
    }
    const text = withRecipient(heading(places.store), {
      publicKey: own,
      label: printable(context.loginName()),
    });
    await savePinned(search, text);
    return { keys: new Set([own]), own, text };
  }
  const keys = new Set([own, ...pinned.all.map(({ publicKey }) => publicKey)]);
  if (previous && previous.stanzas.length !== keys.size) {
    context.emit({
      type: "warning",
      message: `${places.store} was encrypted for ${keyCount(previous.stanzas.length)}; from now on it is for the ${keyCount(keys.size)} in ${places.recipientsFile}`,
      hint: "mcp-run secrets recipients, to see who they are",
    });
  }
  return { keys, own, text: pinned.text };
}

/** Replaces the file of pinned recipients, keeping its mode. Throws ProviderError. */
export async function savePinned({ places, context }: IdentitySearch, text: string): Promise<void> {
  const path = places.recipientsFile;
  await ensurePrivateDirectory(dirname(path));
  const mode = readPinned(path, context)?.mode ?? 0o600;
  await replaceFile(path, { bytes: Buffer.from(text), mode });
}

function heading(store: string): string {
  return `# Who can read ${store}: one age public key a line, its label above it.\n`;
}

function keyCount(count: number): string {
  return count === 1 ? "1 key" : `${count} keys`;
}

function printable(text: string): string {
  return text.replace(/\p{C}/gu, "?");
}

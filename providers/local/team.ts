/**
 * Changes who can read a store. The file is encrypted anew first and the list of pinned keys follows, so that
 * after a crash in between the same command can be given again.
 */
import { ProviderError } from "../../src/errors.ts";
import type { Recipient } from "../../src/secrets/provider.ts";
import { parseRecipient, recipientOf } from "./age/keys.ts";
import { sealForRecipients } from "./age/seal.ts";
import type { Opened, Rewrite, StoreArchive } from "./archive.ts";
import { type IdentitySearch, ownIdentity } from "./identity.ts";
import { renewIdentity } from "./make-identity.ts";
import { pinnedForWrite, savePinned } from "./pinned.ts";
import {
  type PinnedRecipient,
  parsePinned,
  readPinned,
  withoutRecipient,
  withRecipient,
  withReplacedRecipients,
} from "./recipients.ts";

const MAX_LABEL_LENGTH = 100;

/** The pinned keys, and our own even if the list does not name it. Throws ProviderError. */
export async function listRecipients(
  search: IdentitySearch,
  signal: AbortSignal,
): Promise<readonly Recipient[]> {
  const source = await ownIdentity(search, signal);
  const own = source && recipientOf(source.identities[0]);
  const pinned = readPinned(search.places.recipientsFile, search.context)?.all ?? [];
  const listed = pinned.map((recipient) => ({ ...recipient, own: recipient.publicKey === own }));
  if (own === undefined || listed.some((recipient) => recipient.own)) return listed;
  return [...listed, { publicKey: own, own: true }];
}

/** A key that is pinned already stays as it is, and the file is encrypted anew. Throws ProviderError. */
export async function addRecipient(
  search: IdentitySearch,
  archive: StoreArchive,
  recipient: PinnedRecipient,
  signal: AbortSignal,
): Promise<void> {
  refuseIfMalformed(recipient);
  await archive.rewrite(signal, async (current) => {
    const pinned = await pinnedForWrite(search, current?.header, signal);
    if (pinned.keys.has(recipient.publicKey)) return sealed(current, pinned.keys, undefined);
    return {
      ...sealed(current, new Set([...pinned.keys, recipient.publicKey]), undefined),
      afterwards: () => savePinned(search, withRecipient(pinned.text, recipient)),
    };
  });
}

/** @returns false if there is no such recipient. Throws ProviderError. */
export async function removeRecipient(
  search: IdentitySearch,
  archive: StoreArchive,
  publicKeyOrLabel: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { places, context } = search;
  const removed = await archive.rewrite<{ key: string; names: readonly string[] } | undefined>(
    signal,
    async (current) => {
      const pinned = await pinnedForWrite(search, current?.header, signal);
      const all = parsePinned(pinned.text, places.recipientsFile);
      const key = oneKey(all, publicKeyOrLabel);
      if (key === undefined) return { result: undefined };
      if (key === pinned.own) {
        throw new ProviderError("invalid", "this is the key of this machine itself", {
          hint: "mcp-run secrets rekey for a new one, or recipients rm on another machine",
        });
      }
      const keys = new Set([...pinned.keys].filter((other) => other !== key));
      return {
        ...sealed(current, keys, { key, names: entryNames(current) }),
        afterwards: () => savePinned(search, withoutRecipient(pinned.text, key)),
      };
    },
  );
  if (!removed) return false;
  if (removed.names.length > 0) {
    const refs = removed.names.map((name) => `${context.name}:${name}`).join(", ");
    context.emit({
      type: "warning",
      message: `${publicKeyOrLabel} can't read later values, but may have kept a copy of these: ${refs}`,
      hint: "rotating each of them at its issuer",
    });
  }
  return true;
}

/** Replaces our own identity; see RecipientStore. Throws ProviderError. */
export async function rekey(
  search: IdentitySearch,
  archive: StoreArchive,
  signal: AbortSignal,
): Promise<{ readonly mustRotate: readonly string[] }> {
  return archive.rewrite(signal, async (current) => {
    const pinned = await pinnedForWrite(search, current?.header, signal);
    const source = await ownIdentity(search, signal);
    if (!source) throw new Error("a rekey without an identity");
    // Also the former ones: a rekey that broke off has left one of them in the list.
    const former = source.identities.map(recipientOf);
    const own = recipientOf(await renewIdentity(search, source, signal));
    const others = [...pinned.keys].filter((key) => !former.includes(key));
    return {
      ...sealed(current, [own, ...others], { mustRotate: entryNames(current) }),
      afterwards: () => savePinned(search, withReplacedRecipients(pinned.text, former, own)),
    };
  });
}

function sealed<T>(current: Opened | undefined, keys: Iterable<string>, result: T): Rewrite<T> {
  return { ...(current && { write: { document: current.document, seal: sealForRecipients(keys) } }), result };
}

function entryNames(current: Opened | undefined): readonly string[] {
  const { entries = {}, candidates = {} } = current?.document ?? {};
  return [...new Set([...Object.keys(entries), ...Object.keys(candidates)])].sort();
}

function oneKey(all: readonly PinnedRecipient[], publicKeyOrLabel: string): string | undefined {
  const byKey = all.find(({ publicKey }) => publicKey === publicKeyOrLabel);
  if (byKey) return byKey.publicKey;
  const byLabel = new Set(
    all.filter(({ label }) => label === publicKeyOrLabel).map(({ publicKey }) => publicKey),
  );
  if (byLabel.size > 1) {
    throw new ProviderError("invalid", `${byLabel.size} recipients have the label "${publicKeyOrLabel}"`, {
      hint: "the public key instead",
    });
  }
  return [...byLabel][0];
}

function refuseIfMalformed({ publicKey, label }: PinnedRecipient): void {
  if (!parseRecipient(publicKey)) {
    const isPrivate = /^AGE-SECRET-KEY-/i.test(publicKey);
    throw new ProviderError(
      "invalid",
      isPrivate
        ? "this is a private key"
        : "this is no public key of the kind age1…, the only one we can use",
      { hint: "the line after «public key:» in what age-keygen prints" },
    );
  }
  if (label === undefined) return;
  if (label.trim() !== label || label === "" || label.startsWith("#") || /\p{C}/u.test(label)) {
    throw new ProviderError(
      "invalid",
      "the label is empty, or has a # or blank at its ends, or a control character",
    );
  }
  if (label.length > MAX_LABEL_LENGTH) {
    throw new ProviderError("invalid", `the label is longer than ${MAX_LABEL_LENGTH} characters`);
  }
}

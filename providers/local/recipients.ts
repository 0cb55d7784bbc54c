/**
 * The pinned public keys, in age's recipients file format: one key a line; the comment line right above a key
 * is its label. Edits keep every other line as it is. The list is never taken from the ciphertext.
 */
import { ProviderError } from "../../src/errors.ts";
import type { ProviderContext } from "../../src/secrets/provider.ts";
import { shellWord } from "../../src/shell-word.ts";
import { parseRecipient } from "./age/keys.ts";
import { type FileContent, readFileBounded } from "./read-file.ts";

const MAX_RECIPIENTS_FILE_BYTES = 256 * 1024;

export interface PinnedRecipient {
  /** `age1…` */
  readonly publicKey: string;
  readonly label?: string;
}

export interface PinnedRecipients {
  readonly all: readonly PinnedRecipient[];
  readonly text: string;
  /** The file's permission bits. */
  readonly mode: number;
}

/**
 * Undefined if there is no such file. Throws ProviderError: `denied` if others could have written it, since
 * whoever adds a key there reads every later value; `invalid` for a line that is no X25519 recipient.
 */
export function readPinned(path: string, context: ProviderContext): PinnedRecipients | undefined {
  const content = readFileBounded(path, MAX_RECIPIENTS_FILE_BYTES);
  if (!content) return undefined;
  refuseIfWritableByOthers(path, content, context);
  const text = content.bytes.toString();
  return { text, all: parsePinned(text, path), mode: content.mode };
}

/** @param path for messages. Throws ProviderError `invalid`. */
export function parsePinned(text: string, path: string): readonly PinnedRecipient[] {
  const recipients: PinnedRecipient[] = [];
  let label: string | undefined;
  for (const [index, rawLine] of text.split("\n").entries()) {
    const line = rawLine.trim();
    if (line === "") label = undefined;
    else if (line.startsWith("#")) label = line.replace(/^#+\s*/, "") || undefined;
    else if (parseRecipient(line)) {
      recipients.push({ publicKey: line, ...(label !== undefined && { label }) });
      label = undefined;
    } else {
      throw new ProviderError("invalid", `${path}:${index + 1} is no public key of the kind age1…`, {
        hint: "the public key that age-keygen prints, or a # in front of the line",
      });
    }
  }
  return recipients;
}

/** The text with this key added at its end. */
export function withRecipient(text: string, { publicKey, label }: PinnedRecipient): string {
  const before = text === "" || text.endsWith("\n") ? text : `${text}\n`;
  const comment = label === undefined ? "" : `# ${label}\n`;
  // A blank line keeps an unlabelled key from taking over a comment above it.
  return `${before}${before === "" ? "" : "\n"}${comment}${publicKey}\n`;
}

/** The text without this key, its label, and the blank line before them. */
export function withoutRecipient(text: string, publicKey: string): string {
  const lines = text.split("\n");
  for (;;) {
    const at = lines.findIndex((line) => line.trim() === publicKey);
    if (at < 0) return lines.join("\n");
    let from = lines[at - 1]?.trim().startsWith("#") ? at - 1 : at;
    if (from > 0 && lines[from - 1]?.trim() === "") from--;
    lines.splice(from, at + 1 - from);
  }
}

/** The text with one key in place of all of these, under the label of the first that it holds. */
export function withReplacedRecipients(text: string, oldKeys: readonly string[], newKey: string): string {
  const [first, ...others] = oldKeys.filter((key) => text.includes(key));
  return first === undefined ? text : others.reduce(withoutRecipient, text).replaceAll(first, newKey);
}

function refuseIfWritableByOthers(path: string, file: FileContent, context: ProviderContext): void {
  if (context.platform === "win32" || context.uid === undefined) return;
  if (file.uid !== context.uid && file.uid !== 0) {
    throw new ProviderError("denied", `the list of recipients ${path} belongs to another user`, {
      hint: `chown ${context.uid} ${path}, after a look at what it lists`,
    });
  }
  const isGroupWritable = (file.mode & 0o020) !== 0 && file.gid !== context.uid;
  if (isGroupWritable || (file.mode & 0o002) !== 0) {
    throw new ProviderError("denied", `others can write the list of recipients ${path}`, {
      hint: `chmod go-w ${shellWord(path)}, after a look at what it lists`,
    });
  }
}

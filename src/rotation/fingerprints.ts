/** How a rotation tells values apart without writing them down: the same as the control socket answers. */
import { randomBytes } from "node:crypto";
import { fingerprintOf } from "../control/fingerprint.ts";
import { ProviderError } from "../errors.ts";
import { fieldsWithin, pickField } from "../secrets/field.ts";
import { Secret } from "../secrets/secret.ts";

const KEY_BYTES = 32;

/** 32 bytes in base64url. */
export function newFingerprintKey(): string {
  return randomBytes(KEY_BYTES).toString("base64url");
}

/** HMAC-SHA256 under the key of the rotation, 64 hex digits. */
export function fingerprintUnder(key: string, value: Secret): string {
  return fingerprintOf(value.reveal(), Buffer.from(key, "base64url"));
}

/** The value and what differs from it by one line ending at its end: editors and consoles add one, and it is the same key. */
export function spellingsOf(value: Secret): readonly Secret[] {
  const text = value.reveal();
  const bare = text.replace(/\r?\n$/, "");
  return [...new Set([text, bare, `${bare}\n`, `${bare}\r\n`])].map((spelling) => new Secret(spelling));
}

/** Of a value, and of what lies within one that is a whole document: others may have that by refs of its own. */
export interface Prints {
  readonly fingerprint?: string | undefined;
  readonly fields?: FieldPrint[] | undefined;
}

export interface FieldPrint {
  readonly way: string[];
  readonly fingerprint: string;
}

const MOST_FIELDS = { count: 100, depth: 16 } as const;

/** @param key see fingerprintUnder */
export function printsOf(
  { field }: { readonly field?: readonly string[] | undefined },
  value: Secret,
  key: string,
): Prints {
  const ways = field ? [] : fieldsWithin(value, MOST_FIELDS);
  const fields = ways.flatMap((way) => {
    const inner = pickField(value, way);
    return inner instanceof ProviderError
      ? []
      : [{ way: [...way], fingerprint: fingerprintUnder(key, inner) }];
  });
  return { fingerprint: fingerprintUnder(key, value), ...(fields.length > 0 && { fields }) };
}

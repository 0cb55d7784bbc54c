/** age's native keys: an identity (private, X25519) and its recipient (public), as text and as bytes. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { Secret } from "../../../src/secrets/secret.ts";
import { decodeBech32, encodeBech32 } from "./bech32.ts";

const IDENTITY_PREFIX = "AGE-SECRET-KEY-";
const RECIPIENT_PREFIX = "age";
const KEY_LENGTH = 32;

/** RFC 8410: what stands before the 32 bytes of a private X25519 key in its DER form. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");

export interface Identity {
  /** `AGE-SECRET-KEY-1…` */
  readonly text: Secret;
  readonly privateKey: KeyObject;
  readonly publicKey: Buffer;
}

/** Reads `AGE-SECRET-KEY-1…`, upper case as age writes it; undefined for anything else. */
export function parseIdentity(text: string): Identity | undefined {
  const decoded = decodeBech32(text);
  if (decoded?.prefix !== IDENTITY_PREFIX || decoded.bytes.length !== KEY_LENGTH) return undefined;
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, decoded.bytes]),
    format: "der",
    type: "pkcs8",
  });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return { text: new Secret(text), privateKey, publicKey: Buffer.from(x, "base64url") };
}

/**
 * Reads what age-keygen writes, or a bare key: one identity a line, blank lines and `#` comments between.
 * Undefined if a line is something else or there is none.
 */
export function parseIdentities(text: string): readonly [Identity, ...Identity[]] | undefined {
  const lines = text.split("\n").map((line) => line.trim());
  const identities = lines.filter((line) => line !== "" && !line.startsWith("#")).map(parseIdentity);
  const [first, ...others] = identities;
  if (!first || others.includes(undefined)) return undefined;
  return [first, ...(others as Identity[])];
}

/** The 32 bytes of `age1…`; undefined for anything else, also for age's other kinds of recipients. */
export function parseRecipient(text: string): Buffer | undefined {
  const decoded = decodeBech32(text);
  return decoded?.prefix === RECIPIENT_PREFIX && decoded.bytes.length === KEY_LENGTH
    ? decoded.bytes
    : undefined;
}

/** `age1…` */
export function recipientOf(identity: Identity): string {
  return encodeBech32(RECIPIENT_PREFIX, identity.publicKey);
}

/** A public key object for 32 raw bytes. (Keys as JWK load faster than as DER, which must be decoded.) */
export function x25519PublicKey(bytes: Buffer): KeyObject {
  const key = { kty: "OKP", crv: "X25519", x: bytes.toString("base64url") };
  return createPublicKey({ key, format: "jwk" });
}

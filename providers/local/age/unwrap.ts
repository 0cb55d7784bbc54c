/** Gets the file key out of an age header, with an identity (X25519) or a passphrase (scrypt). */
import { createDecipheriv, diffieHellman, hkdfSync, scrypt } from "node:crypto";
import { ProviderError } from "../../../src/errors.ts";
import type { AgeHeader } from "./header.ts";
import { type Identity, x25519PublicKey } from "./keys.ts";

const FILE_KEY_BYTES = 16;
const TAG_BYTES = 16;
const ZERO_NONCE = Buffer.alloc(12);
const X25519_INFO = "age-encryption.org/v1/X25519";
const SCRYPT_INFO = "age-encryption.org/v1/scrypt";

/** The file key, or undefined if none of the identities fits. Throws ProviderError `invalid`. */
export function unwrapWithIdentities(header: AgeHeader, identities: readonly Identity[]): Buffer | undefined {
  for (const stanza of header.stanzas) {
    if (stanza.type !== "x25519") continue;
    for (const { privateKey, publicKey } of identities) {
      const salt = Buffer.concat([stanza.share, publicKey]);
      const shared = agree(privateKey, stanza.share);
      const key = Buffer.from(hkdfSync("sha256", shared, salt, X25519_INFO, 32));
      const fileKey = unseal(key, stanza.wrappedKey);
      if (fileKey) return fileKey;
    }
  }
  return undefined;
}

/** The file key, or undefined if the passphrase does not fit. Throws ProviderError `unavailable`. */
export async function unwrapWithPassphrase(
  header: AgeHeader,
  passphrase: string,
): Promise<Buffer | undefined> {
  const [stanza] = header.stanzas;
  if (stanza?.type !== "scrypt") return undefined;
  const salt = Buffer.concat([Buffer.from(SCRYPT_INFO), stanza.salt]);
  const key = await scryptKey(passphrase, salt, 2 ** stanza.workFactor);
  return unseal(key, stanza.wrappedKey);
}

function agree(privateKey: Identity["privateKey"], share: Buffer): Buffer {
  try {
    return diffieHellman({ privateKey, publicKey: x25519PublicKey(share) });
  } catch {
    // OpenSSL refuses a share of low order, which would give a key that anybody knows.
    throw new ProviderError("invalid", "its header has a malformed X25519 recipient");
  }
}

function scryptKey(passphrase: string, salt: Buffer, cost: number): Promise<Buffer> {
  const r = 8;
  const memory = 128 * r * cost;
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, { N: cost, r, p: 1, maxmem: memory + 2 ** 20 }, (error, key) =>
      error
        ? reject(new ProviderError("unavailable", "there is not enough memory for scrypt"))
        : resolve(key),
    );
  });
}

/** ChaCha20-Poly1305 with a zero nonce, as age wraps file keys; undefined if the key does not fit. */
function unseal(key: Buffer, wrapped: Buffer): Buffer | undefined {
  const decipher = createDecipheriv("chacha20-poly1305", key, ZERO_NONCE, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(wrapped.subarray(FILE_KEY_BYTES));
  const fileKey = decipher.update(wrapped.subarray(0, FILE_KEY_BYTES));
  try {
    decipher.final();
    return fileKey;
  } catch {
    return undefined; // The tag does not match: wrapped for somebody else.
  }
}

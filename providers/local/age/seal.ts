/** Everything that makes age files and keys: the library, loaded only by a write. */

/**
 * log2 of the scrypt cost of a new file: 128 MiB and some 0.4 s at each start. It is the least that OWASP's
 * Password Storage Cheat Sheet accepts; age's own tool takes 18.
 */
const WORK_FACTOR = 17;

export type Seal = (plaintext: Uint8Array) => Promise<Uint8Array>;

/** @param recipients `age1…` */
export function sealForRecipients(recipients: Iterable<string>): Seal {
  return async (plaintext) => {
    const { Encrypter } = await import("age-encryption");
    const encrypter = new Encrypter();
    for (const recipient of recipients) encrypter.addRecipient(recipient);
    return encrypter.encrypt(plaintext);
  };
}

/** The passphrase as its UTF-8, as age's own tool takes it. */
export function sealWithPassphrase(passphrase: string): Seal {
  return async (plaintext) => {
    const { Encrypter } = await import("age-encryption");
    const encrypter = new Encrypter();
    encrypter.setPassphrase(passphrase);
    encrypter.setScryptWorkFactor(WORK_FACTOR);
    return encrypter.encrypt(plaintext);
  };
}

/** A new `AGE-SECRET-KEY-1…`. */
export async function generateIdentity(): Promise<string> {
  const { generateX25519Identity } = await import("age-encryption");
  return generateX25519Identity();
}

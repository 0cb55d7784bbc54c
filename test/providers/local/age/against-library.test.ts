/** Our reader beside the library that writes: the same files opened, the same files refused. */
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { beforeAll, describe, expect, test } from "vitest";
import { readAge } from "./read-age.ts";

const CHUNK = 64 * 1024;

let identities: string[];
let recipients: string[];
beforeAll(async () => {
  identities = await Promise.all(Array.from({ length: 30 }, () => generateX25519Identity()));
  recipients = await Promise.all(identities.map((identity) => identityToRecipient(identity)));
});

function patterned(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
}

async function sealed(plaintext: Uint8Array, to: readonly string[]): Promise<Buffer> {
  const encrypter = new Encrypter();
  for (const recipient of to) encrypter.addRecipient(recipient);
  return Buffer.from(await encrypter.encrypt(plaintext));
}

async function libraryRefuses(file: Uint8Array, identity: string): Promise<boolean> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(file).then(
    () => false,
    () => true,
  );
}

describe("the reader opens what the library writes", () => {
  const sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 7];

  test.each(sizes)("with %d bytes of plaintext", async (size) => {
    const plaintext = patterned(size);
    const file = await sealed(plaintext, [recipients[0]!]);

    const outcome = await readAge(file, { identities: [identities[0]!] });

    expect(outcome.type === "opened" && outcome.plaintext.equals(plaintext)).toBe(true);
  });

  test("for each of thirty recipients", async () => {
    const plaintext = patterned(100);
    const file = await sealed(plaintext, recipients);

    const outcomes = await Promise.all(
      identities.map((identity) => readAge(file, { identities: [identity] })),
    );

    expect(outcomes).toEqual(identities.map(() => ({ type: "opened", plaintext })));
  });

  test("with the one of several identities that fits", async () => {
    const plaintext = patterned(100);
    const file = await sealed(plaintext, [recipients[3]!]);

    const outcome = await readAge(file, { identities: identities.slice(0, 5) });

    expect(outcome).toEqual({ type: "opened", plaintext });
  });

  test("with a passphrase of any Unicode", async () => {
    const passphrase = "canary-Grüße 🔑\u00a0";
    const plaintext = patterned(100);
    const encrypter = new Encrypter();
    encrypter.setPassphrase(passphrase);
    encrypter.setScryptWorkFactor(10);
    const file = await encrypter.encrypt(plaintext);

    expect(await readAge(file, { passphrase })).toEqual({ type: "opened", plaintext });
    expect(await readAge(file, { passphrase: `${passphrase} ` })).toEqual({ type: "no match" });
  });
});

describe("the reader refuses", () => {
  test("a file for somebody else", async () => {
    const file = await sealed(patterned(100), [recipients[1]!]);

    expect(await readAge(file, { identities: [identities[0]!] })).toEqual({ type: "no match" });
  });

  test("a flipped bit in any byte, as the library does", async () => {
    const [identity] = identities;
    const file = await sealed(patterned(50), [recipients[0]!]);

    for (let at = 0; at < file.length; at++) {
      const changed = Buffer.from(file);
      changed[at]! ^= 1 << (at % 8);
      expect((await readAge(changed, { identities: [identity!] })).type, `byte ${at}`).not.toBe("opened");
      expect(await libraryRefuses(changed, identity!), `byte ${at}`).toBe(true);
    }
  });

  test("a file cut off at any byte", async () => {
    const file = await sealed(patterned(50), [recipients[0]!]);

    for (let end = 0; end < file.length; end++) {
      const outcome = await readAge(file.subarray(0, end), { identities: [identities[0]!] });
      expect(outcome.type, `${end} bytes`).toBe("refused");
    }
  });

  test("a long file cut off at or beside the end of a chunk, or added to", async () => {
    const file = await sealed(patterned(3 * CHUNK), [recipients[0]!]);
    const payloadAt = file.length - 3 * (CHUNK + 16);
    const ends = [1, 2].flatMap((chunks) =>
      [-17, -16, -1, 0, 1, 16, 17].map((beside) => payloadAt + chunks * (CHUNK + 16) + beside),
    );
    const longer = Buffer.concat([file, Buffer.alloc(17)]);

    for (const end of ends) {
      const outcome = await readAge(file.subarray(0, end), { identities: [identities[0]!] });
      expect(outcome.type, `${end} bytes`).toBe("refused");
    }
    expect((await readAge(longer, { identities: [identities[0]!] })).type).toBe("refused");
  });

  test("chunks in another order", async () => {
    const file = await sealed(patterned(3 * CHUNK), [recipients[0]!]);
    const size = CHUNK + 16;
    const at = file.length - 3 * size;
    const swapped = Buffer.concat([
      file.subarray(0, at),
      file.subarray(at + size, at + 2 * size),
      file.subarray(at, at + size),
      file.subarray(at + 2 * size),
    ]);

    const outcome = await readAge(swapped, { identities: [identities[0]!] });

    expect(outcome.type).toBe("refused");
  });

  test("a header that never ends", async () => {
    const line = `-> grease ${"x".repeat(50)}\n\n`;
    const file = Buffer.from(`age-encryption.org/v1\n${line.repeat(10_000)}`);

    expect(await readAge(file, { identities: [identities[0]!] })).toEqual({
      type: "refused",
      reason: "its header is longer than 256 KiB",
    });
  });

  test("armored text, and says so", async () => {
    const file = Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n");

    expect(await readAge(file, {})).toEqual({
      type: "refused",
      reason: "it is armored text, and only age's binary form is read",
    });
  });
});

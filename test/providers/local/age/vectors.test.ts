/**
 * The age format's own test vectors (C2SP CCTV, npm package cctv-age 0.2.0, 0BSD), less those for armor and
 * for post-quantum keys, which the store does not read.
 */
import { createHash } from "node:crypto";
import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { readAge } from "./read-age.ts";
import vectors from "./vectors.json" with { type: "json" };

interface Vector {
  readonly expected: string;
  readonly payloadHash: string | undefined;
  readonly identities: readonly string[];
  readonly passphrases: readonly string[];
  readonly file: Buffer;
}

function parseVector(base64: string): Vector {
  const bytes = Buffer.from(base64, "base64");
  const end = bytes.indexOf("\n\n");
  const lines = bytes.toString("utf8", 0, end).split("\n");
  const all = (key: string) =>
    lines.filter((line) => line.startsWith(`${key}: `)).map((line) => line.slice(key.length + 2));
  const rest = bytes.subarray(end + 2);
  return {
    expected: all("expect")[0] ?? "",
    payloadHash: all("payload")[0],
    identities: all("identity"),
    passphrases: all("passphrase"),
    file: all("compressed")[0] === "zlib" ? inflateSync(rest) : rest,
  };
}

test.each(Object.entries(vectors))("reads the vector %s as the age specification says", async (_, base64) => {
  const vector = parseVector(base64);
  const [passphrase] = vector.passphrases;

  const outcome = await readAge(vector.file, {
    identities: vector.identities,
    ...(passphrase !== undefined && { passphrase }),
  });

  if (vector.expected === "success") {
    expect(outcome.type).toBe("opened");
    const plaintext = outcome.type === "opened" ? outcome.plaintext : Buffer.alloc(0);
    expect(createHash("sha256").update(plaintext).digest("hex")).toBe(vector.payloadHash);
  } else {
    expect(outcome.type).toBe(vector.expected === "no match" ? "no match" : "refused");
  }
});

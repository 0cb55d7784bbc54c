/**
 * Keys of one's own: random numbers of this machine, every value of the shape as likely as any other. No issuer
 * knows them, so nobody but a person can tell when the old one is refused everywhere.
 */
import { randomBytes, randomInt } from "node:crypto";
import { bitsOf, type GeneratedShape, LEAST_BITS } from "../../secrets/generated-shape.ts";
import { Secret } from "../../secrets/secret.ts";
import type { Issuer } from "../contract.ts";

export function generateIssuer(shape: GeneratedShape): Issuer {
  return {
    kind: "generate",
    mint: async () => ({ value: generateValue(shape) }),
    find: async () => undefined,
    // A candidate was never anywhere but in our store.
    revoke: async (_request, { isCandidate }) => (isCandidate ? "revoked" : "unknown"),
    verify: async () => "unknown",
  };
}

/** Throws for a shape that could be guessed: the profile has refused it before. */
export function generateValue(shape: GeneratedShape): Secret {
  if (!(bitsOf(shape) >= LEAST_BITS)) throw new Error("a generated value needs at least 128 bits");
  if ("bytes" in shape) return new Secret(randomBytes(shape.bytes).toString(shape.encoding));
  const { length, alphabet } = shape;
  // randomInt draws again where a remainder would favour some characters.
  return new Secret(Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join(""));
}

/** What a random value looks like, and how hard it is to guess. */

export type GeneratedShape =
  | { readonly length: number; readonly alphabet: string }
  | { readonly bytes: number; readonly encoding: "base64url" | "base64" | "hex" };

/** NIST SP 800-57 part 1, table 4: what is fewer is not for keys that are to last. */
export const LEAST_BITS = 128;
/** Characters or bytes. */
export const MOST_LENGTH = 4096;

/** Bits of entropy; `alphabet` holds each character once. */
export function bitsOf(shape: GeneratedShape): number {
  return "bytes" in shape ? shape.bytes * 8 : shape.length * Math.log2(shape.alphabet.length);
}

/** The fewest characters of this alphabet that are enough; undefined where none are. */
export function leastLength(alphabet: string): number | undefined {
  return alphabet.length < 2 ? undefined : Math.ceil(LEAST_BITS / Math.log2(alphabet.length));
}

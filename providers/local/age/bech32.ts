/**
 * Bech32 as age uses it for its keys: BIP 173 without the limit of 90 characters.
 * Malformed text gives `undefined`, so that no error can carry a piece of a private key.
 */

const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CHECKSUM_LENGTH = 6;

/** @returns prefix and bytes of `text`; the prefix keeps its case, mixed case is malformed */
export function decodeBech32(text: string): { prefix: string; bytes: Buffer } | undefined {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return undefined;
  const separator = lower.lastIndexOf("1");
  if (separator < 1 || separator + 1 + CHECKSUM_LENGTH > lower.length) return undefined;
  const words = [...lower.slice(separator + 1)].map((character) => ALPHABET.indexOf(character));
  if (words.includes(-1)) return undefined;
  if (checksumOf([...expanded(lower.slice(0, separator)), ...words]) !== 1) return undefined;
  const bytes = regroup(words.slice(0, -CHECKSUM_LENGTH), 5, 8, false);
  return bytes && { prefix: text.slice(0, separator), bytes: Buffer.from(bytes) };
}

/** @param prefix in lower case */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const words = regroup([...bytes], 8, 5, true) ?? [];
  const rest = checksumOf([...expanded(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1;
  const checksum = [25, 20, 15, 10, 5, 0].map((shift) => (rest >>> shift) & 31);
  return `${prefix}1${[...words, ...checksum].map((word) => ALPHABET[word]).join("")}`;
}

function expanded(prefix: string): number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
}

function checksumOf(words: readonly number[]): number {
  let sum = 1;
  for (const word of words) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ word;
    GENERATOR.forEach((part, bit) => {
      if ((top >>> bit) & 1) sum ^= part;
    });
  }
  return sum;
}

/** Regroups bits; without padding, left-over bits must be fewer than a group and zero. */
function regroup(from: readonly number[], fromBits: number, toBits: number, pad: boolean) {
  const to: number[] = [];
  const mask = (1 << toBits) - 1;
  let bits = 0;
  let held = 0;
  for (const value of from) {
    held = ((held << fromBits) | value) & 0xfff;
    bits += fromBits;
    while (bits >= toBits) {
      bits -= toBits;
      to.push((held >>> bits) & mask);
    }
  }
  if (pad) {
    if (bits > 0) to.push((held << (toBits - bits)) & mask);
  } else if (bits >= fromBits || (held & ((1 << bits) - 1)) !== 0) return undefined;
  return to;
}

/** Random values that a profile asks for: strong enough, or refused with what would be. */
import {
  bitsOf,
  type GeneratedShape,
  LEAST_BITS,
  leastLength,
  MOST_LENGTH,
} from "../secrets/generated-shape.ts";
import type { RotateSpec } from "../secrets/spec.ts";
import type { Compilation } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import type { RotateEntry } from "./schema.ts";

const DEFAULT_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const DEFAULT_ENCODING = "base64url";

export function compileGenerate(
  { length, alphabet, bytes, encoding }: NonNullable<RotateEntry["generate"]>,
  path: DocumentPath,
  { findings }: Compilation,
): RotateSpec["source"] | undefined {
  const wrong = (key: string, message: string, hint: string) => {
    findings.error({ path: [...path, key], part: "key" }, message, { hint });
    return undefined;
  };
  if ((length === undefined) === (bytes === undefined)) {
    findings.error({ path, part: "key" }, "`generate` needs either `length` or `bytes`", {
      hint: "`generate: { bytes: 32 }`",
    });
    return undefined;
  }
  if (length === undefined && alphabet !== undefined)
    return wrong("alphabet", "`alphabet` has no meaning beside `bytes`", "`encoding`, or `length`");
  if (bytes === undefined && encoding !== undefined)
    return wrong("encoding", "`encoding` has no meaning beside `length`", "`alphabet`, or `bytes`");
  const characters = alphabet ?? DEFAULT_ALPHABET;
  if (!/^[!-~]+$/.test(characters) || new Set(characters).size < characters.length)
    return wrong(
      "alphabet",
      "`alphabet` must be made of visible ASCII characters, each of them once",
      '`alphabet: "ABCDEF0123456789"`',
    );
  const shape: GeneratedShape =
    length !== undefined
      ? { length, alphabet: characters }
      : { bytes: bytes as number, encoding: encoding ?? DEFAULT_ENCODING };
  const [key, amount] = length !== undefined ? ["length", length] : ["bytes", bytes as number];
  if (amount > MOST_LENGTH)
    return wrong(key as string, `\`${key}\` is out of its range`, `\`${key}: ${MOST_LENGTH}\` or less`);
  const bits = bitsOf(shape);
  if (amount < 1 || bits < LEAST_BITS) {
    const least = key === "bytes" ? LEAST_BITS / 8 : leastLength(characters);
    return wrong(
      key as string,
      `\`generate\` would make keys of ${Math.floor(Math.max(0, bits))} bits, which can be guessed`,
      least === undefined
        ? "a longer `alphabet`"
        : `\`${key}: ${least}\` or more, which is ${LEAST_BITS} bits`,
    );
  }
  return { type: "generate", shape };
}

/**
 * Whose candidate it is, written as one word: the name of a staging label, or the description of a side secret.
 * `mcp-run/ROTATION/TIME/OPERATOR`, in the characters of a secret's name; others are written as `=` and hex digits.
 */
import { ProviderError } from "../../src/errors.ts";
import type { CandidateMark } from "../../src/secrets/provider.ts";

/** API reference of PutSecretValue: a staging label has at most 256 characters. */
const MAX_LABEL = 256;
const MARK = /^mcp-run\/([A-Za-z0-9_+.@-]{1,64})\/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})Z\/(.*)$/;

/** Throws ProviderError for a rotation id that is no plain word. */
export function writeMark({ rotationId, operator, createdAt }: CandidateMark): string {
  if (!/^[A-Za-z0-9_+.@-]{1,64}$/.test(rotationId)) {
    throw new ProviderError("invalid", "a rotation's id has 1 to 64 letters, digits and _+.@-");
  }
  const head = `mcp-run/${rotationId}/${createdAt.toISOString().replace(/[-:]/g, "")}/`;
  let tail = "";
  for (const character of operator) {
    const written = encoded(character);
    if (head.length + tail.length + written.length > MAX_LABEL) break;
    tail += written;
  }
  return head + tail;
}

/** Undefined for a text that is not of writeMark's making. */
export function readMark(text: string): CandidateMark | undefined {
  const [, rotationId, year, month, day, hour, minute, second, ms, operator] = MARK.exec(text) ?? [];
  if (rotationId === undefined || operator === undefined) return undefined;
  return {
    rotationId,
    operator: decoded(operator),
    createdAt: new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`),
  };
}

function encoded(character: string): string {
  if (/^[A-Za-z0-9_+.@-]$/.test(character)) return character;
  return [...Buffer.from(character)].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join("");
}

function decoded(text: string): string {
  return Buffer.from(
    text.replace(/=([0-9a-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  ).toString("utf8");
}

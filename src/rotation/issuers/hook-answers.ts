/**
 * What a hook may answer, version 1 of docs/hooks.md: one JSON object on stdout. Members that are not known are passed
 * over; one that is known must be right. What is wrong is said without quoting any of it.
 */
import * as z from "zod/mini";
import { Secret } from "../../secrets/secret.ts";
import type { Minted } from "../contract.ts";

const LONGEST_VALUE = 65_536;
const LONGEST_KEY_ID = 256;

const secretText = z.string("must be text").check(
  z.minLength(1, "must not be empty"),
  z.maxLength(LONGEST_VALUE, `must be at most ${LONGEST_VALUE} characters`),
  z.refine((text) => !text.includes("\0"), "must not hold a NUL character"),
);
/** It is written into journals and reports. */
const keyId = z
  .string("must be text or a number")
  .check(
    z.regex(/^[^\p{Cc}\p{Zl}\p{Zp}]+$/u, "must be one line, and not empty"),
    z.maxLength(LONGEST_KEY_ID, `must be at most ${LONGEST_KEY_ID} characters`),
  );

const schemas = {
  mint: z.object({
    value: secretText,
    keyId: z.optional(z.union([keyId, z.int()], "must be one line of text, or a whole number")),
    with: z.optional(z.record(z.string(), secretText, "must be an object")),
  }),
  revoke: z.object({ revoked: z.optional(z.boolean("must be true or false")) }),
  reencrypt: z.object({ reencrypted: z.boolean("must be true or false") }),
  verify: z.object({ accepted: z.optional(z.boolean("must be true or false")) }),
};

/** What came of it, or what is wrong with it: a state. */
export type Reading<T> = { readonly is: T } | { readonly wrong: string };

/** @param along the secrets that must come with the value */
export function readMinted(stdout: Buffer, along: readonly string[]): Reading<Minted> {
  const found = read(schemas.mint, stdout);
  if ("wrong" in found) return found;
  const { value, keyId: id, with: others = {} } = found.is;
  const missing = along.find((name) => !Object.hasOwn(others, name));
  if (missing !== undefined) return { wrong: `its answer has no \`${missing}\` under \`with\`` };
  const unasked = Object.keys(others).some((name) => !along.includes(name));
  if (unasked) return { wrong: "its answer has a name under `with` that was not asked for" };
  if (id !== undefined && String(id).includes(value)) return { wrong: "its `keyId` holds the secret itself" };
  return {
    is: {
      value: new Secret(value),
      ...(id !== undefined && { keyId: String(id) }),
      ...(along.length > 0 && {
        along: new Map(along.map((name) => [name, new Secret(others[name] as string)])),
      }),
    },
  };
}

/** `{}`, or an answer of `mint`. */
export function readFound(stdout: Buffer, along: readonly string[]): Reading<Minted | undefined> {
  const found = read(z.object({ value: z.optional(z.unknown()) }), stdout);
  if ("wrong" in found) return found;
  return found.is.value === undefined ? { is: undefined } : readMinted(stdout, along);
}

export function readRevoked(stdout: Buffer): Reading<"revoked" | "unknown"> {
  const found = read(schemas.revoke, stdout);
  return "wrong" in found ? found : { is: found.is.revoked ? "revoked" : "unknown" };
}

export function readReencrypted(stdout: Buffer): Reading<boolean> {
  const found = read(schemas.reencrypt, stdout);
  return "wrong" in found ? found : { is: found.is.reencrypted };
}

export function readVerified(stdout: Buffer): Reading<"refused" | "accepted" | "unknown"> {
  const found = read(schemas.verify, stdout);
  if ("wrong" in found) return found;
  const { accepted } = found.is;
  return { is: accepted === undefined ? "unknown" : accepted ? "accepted" : "refused" };
}

/** What a hook says of why it has failed, and all else that it has printed; undefined if it does not say why. */
export function readError(stdout: Buffer): { readonly why: string; readonly rest: Secret } | undefined {
  const answer = answerIn(stdout);
  if (!answer) return undefined;
  const { error, ...rest } = answer;
  if (typeof error !== "string" || error.trim() === "") return undefined;
  return { why: error.trim(), rest: new Secret(JSON.stringify(rest)) };
}

function read<T>(schema: z.ZodMiniType<T>, stdout: Buffer): Reading<T> {
  const answer = answerIn(stdout);
  if (!answer) {
    return {
      wrong: stdout.length === 0 ? "it printed no answer" : "what it printed is not one JSON object",
    };
  }
  const found = schema.safeParse(answer, { jitless: true });
  if (found.success) return { is: found.data };
  const [{ path, message, input } = { path: [], message: "", input: undefined }] = found.error.issues;
  // The first step is a word of ours; the next may be anything that the hook has written.
  const member = `\`${String(path[0] ?? "value")}\``;
  if (input === undefined && !Object.hasOwn(answer, String(path[0])))
    return { wrong: `its answer has no ${member}` };
  return { wrong: `${member} of its answer ${message}` };
}

/** Undefined if it is no JSON object. */
function answerIn(stdout: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const answer: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(stdout));
    const isObject = typeof answer === "object" && answer !== null && !Array.isArray(answer);
    return isObject ? (answer as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

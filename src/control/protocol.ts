/**
 * What two mcp-runs of one user say to each other, version 1: one JSON object a line, one request and one answer a
 * connection. Nothing in it is a secret: names, refs, versions, times, and fingerprints under a key of the asker.
 *
 * Requests must be exactly as written here; of an answer, what is not known is passed over.
 */
import * as z from "zod/mini";

export const PROTOCOL_VERSION = 1;
/** Bytes, the newline included, in either direction. */
export const LONGEST_LINE = 65_536;

/** Ms; clients give up after a minute. */
const LONGEST_HOLD_MS = 60_000;
const MOST_REFS = 256;

const text = z.string().check(z.maxLength(4096));
const count = z.number().check(z.nonnegative());
/** ISO 8601 */
const time = z.string().check(z.maxLength(40));
const refs = z.array(text.check(z.minLength(1))).check(z.maxLength(MOST_REFS));
/** Where the documents of `refs` lie, one for each in the same order; null where it is not known. */
const places = z.array(z.nullable(text)).check(z.maxLength(MOST_REFS));
const rotation = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/));
/** 32 bytes in base64url. */
const key = z.string().check(z.regex(/^[\w-]{43}$/));
/** Fingerprints of values: whoever has one of them is meant as well, whatever its ref. */
const values = z.array(z.string().check(z.regex(/^[0-9a-f]{64}$/))).check(z.maxLength(MOST_REFS));
const v = z.literal(PROTOCOL_VERSION);

const requests = {
  status: z.strictObject({ v, type: z.literal("status") }),
  /** `refs`: only if one of these is in use; without it always. `renew`: their leases are about to be revoked. */
  refresh: z.strictObject({
    v,
    type: z.literal("refresh"),
    refs: z.optional(refs),
    places: z.optional(places),
    values: z.optional(values),
    /** For the fingerprints of `values`. */
    key: z.optional(key),
    rotation: z.optional(rotation),
    renew: z.optional(z.literal(true)),
  }),
  /** `key`: for the fingerprints of the answer, and of `values`. */
  acknowledge: z.strictObject({
    v,
    type: z.literal("acknowledge"),
    refs,
    places: z.optional(places),
    values: z.optional(values),
    key,
  }),
  /**
   * New requests of its client are to wait until its server has the new values of these secrets, at most so long: their
   * old ones are about to be revoked. Believed only where this rotation has put candidates beside them. The answer
   * takes up to 10 s.
   */
  hold: z.strictObject({
    v,
    type: z.literal("hold"),
    rotation,
    refs,
    places: z.optional(places),
    forMs: z.int().check(z.minimum(1), z.maximum(LONGEST_HOLD_MS)),
  }),
  /** A server with the candidates that this rotation has put beside these secrets. The answer takes up to 90 s. */
  canary: z.strictObject({ v, type: z.literal("canary"), rotation, refs }),
};

const secretStatus = z.object({
  name: text,
  /** As the profile has it; `template` for one that is made of others. */
  ref: text,
  /** The word before the colon. */
  provider: text,
  version: z.optional(text),
  /** Where its document lies, in the backend's own words. */
  place: z.optional(text),
  createdAt: z.optional(time),
  expiresAt: z.optional(time),
  /** How old the profile lets it become, in ms. */
  maxAgeMs: z.optional(count),
  /** When this version was fetched for the first time. */
  fetchedAt: time,
  /** It came from the cache, and the backend gave it then. */
  cachedSince: z.optional(time),
});

/** How it stands on the bus of its fleet. */
const fleetStatus = z.object({
  /** Its machine's name there, and that of its own life. */
  host: text,
  instance: z.optional(text),
  /** `connecting`, `connected`, `reconnecting` or `refused`; with a `reason` beside `connected` something is missing. */
  state: text,
  since: time,
  reason: z.optional(text),
});

const supervisorStatus = z.object({
  pid: z.int(),
  host: text,
  user: z.optional(text),
  profile: text,
  /** Where the profile stands. */
  file: text,
  /** The program's name without its folder and arguments. */
  command: text,
  startedAt: time,
  uptimeMs: count,
  state: text,
  client: z.optional(z.object({ name: text, version: z.optional(text) })),
  era: z.optional(text),
  generation: count,
  serverPid: z.int(),
  /** How often another server has taken over from one that had ended by itself. */
  restarts: count,
  /** What the server that serves has. */
  secrets: z.array(secretStatus),
  /** Secrets that did not fit into the answer. */
  secretsLeftOut: z.optional(count),
  refresh: z.object({
    mode: text,
    nextAt: z.optional(time),
    /** When a look last went well. */
    lastLookAt: z.optional(time),
    /** `mayPass`: without anybody's doing, as where a backend gives no answer. */
    lastFailure: z.optional(z.object({ at: time, reason: text, mayPass: z.optional(z.boolean()) })),
    isLooking: z.boolean(),
  }),
  /** New requests of its client wait for the end of this rotation. */
  holding: z.optional(z.object({ rotation: text, since: time, until: time })),
  /** Only where its profile file has a fleet. */
  fleet: z.optional(fleetStatus),
  /** Masks on stderr. */
  scrubbed: count,
  /** Messages to the client that held a secret. */
  leaks: count,
});

const answers = {
  status: z.object({ v, ok: z.literal(true), status: supervisorStatus }),
  /** `accepted` is false where no ref of the request is in use. */
  refresh: z.object({ v, ok: z.literal(true), accepted: z.boolean(), generation: count }),
  acknowledge: z.object({
    v,
    ok: z.literal(true),
    pid: z.int(),
    host: text,
    generation: count,
    /** A look is under way, or about to begin: ask again. */
    isChanging: z.boolean(),
    /** The server before still finishes its work, with the values that it has. */
    isDraining: z.optional(z.boolean()),
    /**
     * `ref`: in the words of the request; its own words where only the value is meant. `fingerprint`: HMAC-SHA256 in hex, under the key of the request, of the
     * value that the server that serves has.
     */
    secrets: z.array(
      z.object({
        ref: text,
        name: text,
        version: z.optional(text),
        /** The id of the lease that the value is lent by. */
        lease: z.optional(text),
        fingerprint: text,
        /** None of `refs`, and with one of `values`: `ref` is what its own profile calls it. */
        isCopy: z.optional(z.literal(true)),
      }),
    ),
  }),
  /** `accepted` as above. Without `holds`, the reason: a state. */
  hold: z.object({
    v,
    ok: z.literal(true),
    accepted: z.boolean(),
    holds: z.boolean(),
    since: z.optional(time),
    reason: z.optional(text),
  }),
  canary: z.object({
    v,
    ok: z.literal(true),
    works: z.boolean(),
    wasProbed: z.boolean(),
    reason: z.optional(text),
    /** What the server said last, without secrets. */
    details: z.optional(z.array(text).check(z.maxLength(16))),
  }),
};

const refusal = z.object({
  v: z.int(),
  ok: z.literal(false),
  error: z.object({
    code: text,
    message: text,
    hint: z.optional(text),
    /** With `unsupported-version`: those that are known. */
    versions: z.optional(z.array(z.int())),
  }),
});

export type RequestType = keyof typeof requests;
export type Request<Type extends RequestType = RequestType> = {
  [T in Type]: z.infer<(typeof requests)[T]>;
}[Type];
export type Answer<Type extends RequestType = RequestType> = {
  [T in Type]: z.infer<(typeof answers)[T]>;
}[Type];
export type SupervisorStatus = z.infer<typeof supervisorStatus>;
export type FleetStatus = z.infer<typeof fleetStatus>;
export type SecretStatus = z.infer<typeof secretStatus>;
/** `code`: an ErrorCode, or `unsupported`, `unsupported-version`, `invalid`, `too-large`, `busy`. */
export type Refusal = z.infer<typeof refusal>["error"];

/** The bytes of a key in a request. */
export function keyOf(base64url: string): Buffer {
  return Buffer.from(base64url, "base64url");
}

/** What a line asks for, or why it can't be answered; never quotes it. */
export function readRequest(line: string): { readonly request: Request } | { readonly refused: Refusal } {
  const message = parsed(line);
  if (!isObject(message)) return { refused: { code: "invalid", message: "it is not a JSON object" } };
  if (message.v !== PROTOCOL_VERSION) {
    const state = `only version ${PROTOCOL_VERSION} of the protocol is known`;
    return {
      refused: { code: "unsupported-version", message: state, versions: [PROTOCOL_VERSION] },
    };
  }
  const { type } = message;
  if (typeof type !== "string" || !Object.hasOwn(requests, type))
    return { refused: { code: "unsupported", message: "there is no such request" } };
  const found = requests[type as RequestType].safeParse(message);
  if (found.success) return { request: found.data };
  const where = found.error.issues[0]?.path.join(".") || "its members";
  return { refused: { code: "invalid", message: `${type} has something wrong in ${where}` } };
}

/** What a supervisor answers to a request of this type; undefined if it is none of the protocol. */
export function readAnswer<Type extends RequestType>(
  type: Type,
  line: string,
): { readonly answer: Answer<Type> } | { readonly refused: Refusal } | undefined {
  const message = parsed(line);
  const refused = refusal.safeParse(message);
  if (refused.success) return { refused: refused.data.error };
  const found = answers[type].safeParse(message);
  return found.success ? { answer: found.data as Answer<Type> } : undefined;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What is said on the bus, version 1: JSON, bounded in size, and never a value. What is not of this form is nothing:
 * the readers give undefined, and who reads counts it. Unknown members are passed over, so that a later version can
 * add some.
 */
import * as z from "zod/mini";

/** Bytes. */
export const LONGEST_ENTRY = 49_152;
export const LONGEST_REPORT = 16_384;
const LONGEST_CALL = 1_024;

const MOST_SECRETS = 256;
/** Keys of secrets that are named and no more. */
const MOST_KEYS = 400;
const LONGEST_REF = 1024;
/** As many as a provider lists; characters that each has in an entry: see old-leases.ts. */
export const MOST_OLD_LEASES = 10_000;
export const OLD_LEASE_CHARACTERS = 4;
/** A profile can call one backend by several names, and has a lease by each. */
export const MOST_LEASES_OF_ONE = 16;
/** Of an entry, and characters of each as JSON. */
export const MOST_WAYS = 32;
const LONGEST_WAY = 1024;
/** Ms for which requests may be held: clients give up after a minute. */
const LONGEST_HOLD_MS = 60_000;
/** Characters of what a supervisor says of a failure. */
export const LONGEST_REASON = 300;

const text = (most: number) => z.string().check(z.maxLength(most));
const count = z.number().check(z.nonnegative());
/** ISO 8601 */
const time = z.iso.datetime();
const id = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/));
const key = z.string().check(z.regex(/^k[A-Za-z0-9_-]{26}$/));
/** HMAC-SHA256 in hex. */
const fingerprint = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const way = z.array(text(256)).check(
  z.minLength(1),
  z.maxLength(16),
  z.refine((steps) => JSON.stringify(steps).length <= LONGEST_WAY),
);
const v = z.literal(1);

const entry = z.object({
  v,
  /** One more with each put. */
  generation: z.int().check(z.positive()),
  rotation: id,
  at: time,
  /** Since when there is the bucket, by the server's clock: one that was made anew counts from one again. */
  bucket: z.optional(time),
  /** For people. */
  ref: text(LONGEST_REF),
  /** Of the fingerprints of this rotation: 32 bytes in base64url. */
  key: z.string().check(z.regex(/^[\w-]{43}$/)),
  /** Of the wanted value; without it and `oldLeases` every supervisor only looks. */
  fingerprint: z.optional(fingerprint),
  /** To fields within that value: only those are wanted, and the fingerprint is of them together. */
  ways: z.optional(z.array(way).check(z.minLength(1), z.maxLength(MOST_WAYS))),
  /** Leases that are about to be revoked, by beginnings of fingerprints: whoever has one of them takes another. */
  oldLeases: z.optional(
    z
      .string()
      .check(
        z.maxLength(MOST_OLD_LEASES * OLD_LEASE_CHARACTERS),
        z.regex(new RegExp(`^([\\w-]{${OLD_LEASE_CHARACTERS}})*$`)),
      ),
  ),
  /** Which part of the supervisors has its turn: those whose fraction is below. */
  upTo: z.number().check(z.minimum(0), z.maximum(1)),
  /** They spread their looks over so many ms. */
  overMs: count.check(z.maximum(86_400_000)),
});

/** Asks for something that nobody believes who does not find the candidates of that rotation himself. */
const hold = z.object({
  rotation: id,
  /** For so long at most. */
  forMs: z.int().check(z.minimum(1), z.maximum(LONGEST_HOLD_MS)),
  /** As in an entry. */
  upTo: z.number().check(z.minimum(0), z.maximum(1)),
  overMs: count.check(z.maximum(LONGEST_HOLD_MS)),
});

const call = z.object({
  v,
  id,
  /** Ms over which the answers are spread. */
  spreadMs: z.optional(count.check(z.maximum(600_000))),
  /** Whoever has the secret that is asked after has new requests of its client wait; an earlier version only answers. */
  hold: z.optional(hold),
});

const reportedSecret = z.object({
  key,
  ref: text(LONGEST_REF),
  version: z.optional(text(LONGEST_REF)),
  /** See realmOf. */
  realm: z.optional(text(64)),
  /** Of the last entry for it that was heard. */
  rotation: z.optional(id),
  /** Of the value that the server which serves has, under that entry's key. */
  fingerprint: z.optional(fingerprint),
  /** Where that entry is about leases: of the ids of all by which that server has it, and of the empty text. */
  leases: z.optional(z.array(fingerprint).check(z.minLength(1), z.maxLength(MOST_LEASES_OF_ONE))),
  under: z.optional(fingerprint),
  state: z.enum(["idle", "waiting", "looking", "has", "failed", "cannot-swap", "other"]),
  reason: z.optional(text(LONGEST_REASON)),
});

const report = z.object({
  v,
  host: text(255),
  pid: z.int(),
  instance: text(64),
  profile: text(255),
  state: z.enum(["serving", "ended"]),
  generation: count,
  era: text(64),
  mode: text(64),
  /** The id of the call that it answers. */
  call: z.optional(id),
  /** Within what its pid means one process: see pidSpace. */
  pidSpace: z.optional(text(64)),
  /** What it says to the last call that has asked it to hold requests. */
  hold: z.optional(
    z.object({ call: id, rotation: id, holds: z.boolean(), reason: z.optional(text(LONGEST_REASON)) }),
  ),
  secrets: z.array(reportedSecret).check(z.maxLength(MOST_SECRETS)),
  /** Keys of further secrets, of which there was no room to say more. */
  more: z.optional(z.array(key).check(z.maxLength(MOST_KEYS))),
  /** How many are not even named. */
  secretsLeftOut: z.optional(count),
});

export type Entry = z.infer<typeof entry>;
export type Call = z.infer<typeof call>;
export type HoldAsked = z.infer<typeof hold>;
export type HoldSaid = NonNullable<Report["hold"]>;
export type ReportedSecret = z.infer<typeof reportedSecret>;
export type SecretState = ReportedSecret["state"];
export type Report = z.infer<typeof report>;

/** Whether an entry can name it. */
export function isWay(steps: readonly string[]): boolean {
  return way.safeParse(steps).success;
}

export function readEntry(bytes: Uint8Array): Entry | undefined {
  return read(entry, bytes, LONGEST_ENTRY);
}

export function readCall(bytes: Uint8Array): Call | undefined {
  return read(call, bytes, LONGEST_CALL);
}

export function readReport(bytes: Uint8Array): Report | undefined {
  return read(report, bytes, LONGEST_REPORT);
}

/** The bytes of a report that can be read; of secrets at the end there are only the keys where it would be too long. */
export function writeReport(whole: Report): string {
  const secrets = whole.secrets.map(({ ref, version, ...secret }) => ({
    ...secret,
    ref: ref.slice(0, LONGEST_REF),
    ...(version !== undefined && { version: version.slice(0, LONGEST_REF) }),
  }));
  for (let kept = Math.min(secrets.length, MOST_SECRETS); ; kept = Math.floor(kept * 0.8)) {
    const more = secrets.slice(kept, kept + MOST_KEYS).map((secret) => secret.key);
    const leftOut = secrets.length - kept - more.length;
    const said: Report = {
      ...whole,
      profile: whole.profile.slice(0, 255),
      secrets: secrets.slice(0, kept),
      ...(more.length > 0 && { more }),
      ...(leftOut > 0 && { secretsLeftOut: leftOut }),
    };
    const line = JSON.stringify(said);
    if (kept === 0 || Buffer.byteLength(line) <= LONGEST_REPORT) return line;
  }
}

function read<T>(schema: z.ZodMiniType<T>, bytes: Uint8Array, most: number): T | undefined {
  if (bytes.length > most) return undefined;
  const found = schema.safeParse(parsed(bytes));
  return found.success ? found.data : undefined;
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined;
  }
}

/**
 * The lines of a journal: what a rotation was to do, what it was about to do, what came of it. Names, refs, versions,
 * fingerprints and states; there is no place for a value.
 */
import * as z from "zod/mini";
import { shellWord } from "../../shell-word.ts";
import { STEP_NAMES } from "../steps/step-names.ts";

const text = z.string();
const texts = z.array(text);
const v = z.literal(1);
/** ISO 8601, UTC. */
const at = z.string();

/** Of what lies within a value that is a whole document, by the way there. */
const fields = z.array(z.strictObject({ way: texts, fingerprint: text }));

const plannedPart = z.strictObject({
  /** The secret's name in the profile. */
  name: text,
  from: text,
  field: z.optional(texts),
  issuer: text,
  comesWith: z.optional(text),
  /** Data is encrypted with it, which has to be encrypted anew before it is ended; absent in older journals. */
  reencrypts: z.optional(z.literal(true)),
  /** Of the old value; absent if there is none. */
  fingerprint: z.optional(text),
  fields: z.optional(fields),
  /** The issuer's own name for the old key, where an earlier rotation has noted it. */
  keyId: z.optional(text),
});

const plannedTarget = z.strictObject({
  ref: text,
  /** The current version when the plan was made; absent if there was none. */
  version: z.optional(text),
  /** See FetchedSecret; absent where the store does not say it, and where there is nothing yet. */
  place: z.optional(text),
  /** How its backend replaces it by itself; absent for a value that is put into a store. */
  mode: z.optional(z.enum(["aws-rotation", "vault-static-role", "vault-lease"])),
  /** The ids of the leases that were alive then, with `vault-lease`: these are revoked, and no others. */
  leases: z.optional(texts),
  parts: z.array(plannedPart),
});

const plan = z.strictObject({
  v,
  kind: z.literal("plan"),
  at,
  rotation: text,
  profile: text,
  /** What names that profile behind `mcp-run rotate`, wherever its file is; absent in older journals. */
  typed: z.optional(texts),
  reason: text,
  /** `user@host` */
  operator: text,
  /** For the fingerprints of this rotation: 32 bytes in base64url. */
  key: z.string().check(z.regex(/^[\w-]{43}$/)),
  targets: z.array(plannedTarget),
  options: z.strictObject({
    revokeFirst: z.optional(z.literal(true)),
    takeOver: z.optional(text),
  }),
});

const acknowledgement = z.object({
  host: text,
  pid: z.int(),
  profile: text,
  generation: z.number(),
  canSwap: z.boolean(),
  state: z.enum(["pending", "acknowledged", "failed", "cannot-swap", "gone", "unknown"]),
  reason: z.optional(text),
});

const partFacts = z.strictObject({
  name: text,
  /** Of the new value. */
  fingerprint: z.optional(text),
  fields: z.optional(fields),
  /** The issuer's own name for the new key. */
  keyId: z.optional(text),
  /** What has become of a key. */
  result: z.optional(z.enum(["revoked", "by-hand", "unknown", "failed", "refused", "accepted", "none"])),
  reason: z.optional(text),
});

const facts = z.strictObject({
  /** Absent if it is: a step that is not gets another try. */
  isDone: z.optional(z.literal(false)),
  /** What is current now. */
  version: z.optional(text),
  /** What the candidate is made from, and what may be replaced by it; null where there was nothing. */
  base: z.optional(z.nullable(text)),
  /** Of the whole new document. */
  fingerprint: z.optional(text),
  parts: z.optional(z.array(partFacts)),
  acknowledgements: z.optional(z.array(acknowledgement)),
  wasProbed: z.optional(z.boolean()),
  /** Who had the canary's server, or why there was none. */
  ranBy: z.optional(text),
  skipped: z.optional(text),
  reason: z.optional(text),
  /** What a server said last, without secrets. */
  details: z.optional(texts),
});

const step = z.enum(STEP_NAMES);

const intent = z.strictObject({ v, kind: z.literal("intent"), at, step, target: z.optional(text) });
const fact = z.strictObject({ v, kind: z.literal("fact"), at, step, target: z.optional(text), facts });
/**
 * From here on it goes another way; `rebase` makes the candidate of the target anew, `set-aside` goes on without it,
 * since somebody else has replaced it.
 */
const turn = z.strictObject({
  v,
  kind: z.literal("turn"),
  at,
  to: z.enum(["discard", "rollback", "rebase", "set-aside"]),
  target: z.optional(text),
  reason: z.optional(text),
});
const end = z.strictObject({
  v,
  kind: z.literal("end"),
  at,
  outcome: z.enum(["done", "discarded", "rolled-back", "incomplete"]),
  reason: z.optional(text),
});

const line = z.discriminatedUnion("kind", [plan, intent, fact, turn, end]);

export type JournalLine = z.infer<typeof line>;
export type PlanLine = z.infer<typeof plan>;
export type PlannedTarget = z.infer<typeof plannedTarget>;
export type PlannedPart = z.infer<typeof plannedPart>;
export type Facts = z.infer<typeof facts>;
export type PartFacts = z.infer<typeof partFacts>;
export type OutcomeWord = z.infer<typeof end>["outcome"];

/** What goes on with a rotation, or back, as it has to be typed. */
export function commandOf(
  { typed, profile, rotation }: Pick<PlanLine, "typed" | "profile" | "rotation">,
  way: "--resume" | "--rollback",
): string {
  return ["mcp-run", "rotate", ...(typed ?? [profile]), way, rotation].map(shellWord).join(" ");
}

/** Undefined for what is none. */
export function parseLine(written: string): JournalLine | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(written);
  } catch {
    // The caller says which line it is.
    return undefined;
  }
  const result = line.safeParse(parsed);
  return result.success ? result.data : undefined;
}

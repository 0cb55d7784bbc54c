/**
 * What a rotation would do, out of every read and no write: the dry run. What can't be rotated, or not by this
 * operator now, is refused here.
 */
import type { Clock } from "../clock.ts";
import { McpRunError, ProviderError } from "../errors.ts";
import { nameWithin } from "../secrets/identity.ts";
import { inTime } from "../secrets/in-time.ts";
import { heldByAnother, type OwnRotation } from "../secrets/provider.ts";
import { parseRef } from "../secrets/ref.ts";
import type { Secret } from "../secrets/secret.ts";
import type { Fleet, Member, SecretInUse, Target } from "./contract.ts";
import { fingerprintUnder, newFingerprintKey, printsOf } from "./fingerprints.ts";
import { newRotationId } from "./journal/journal.ts";
import type { PlanLine, PlannedPart, PlannedTarget } from "./journal/journal-line.ts";
import { isLive } from "./modes.ts";
import { canBeNamedAtOnce, namedAtOnce } from "./named-at-once.ts";
import { STORE_LIMIT } from "./run.ts";
import { partValue } from "./target.ts";

export interface RotationRequest {
  readonly profile: string;
  /** What names it behind `mcp-run rotate`, from whatever folder; without it, its name does. */
  readonly typed?: readonly string[];
  readonly reason: string;
  /** `user@host` */
  readonly operator: string;
  readonly targets: readonly Target[];
  /** Refs that open the providers of this rotation: it would saw off the branch that it sits on. */
  readonly credentials: ReadonlySet<string>;
  /** Active abuse: the old key is ended before the new one is promoted. */
  readonly revokeFirst?: boolean;
  /** The rotation whose candidate is given up in favour of this one. */
  readonly takeOver?: string;
  /** What its fingerprints are made under; otherwise a new one. */
  readonly key?: string;
}

export interface PlanDeps {
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** The issuer's own name for a key, where that is known from the time when it was minted. */
  readonly keyIdOf?: (from: string, fingerprint: (key: string) => string) => Promise<string | undefined>;
  /** Whether a backend was opened with this value, by whatever ref it was had. */
  readonly isLogin?: (value: Secret) => boolean;
}

/** Messages to supervisors name all of them at once, and have a bound. */
const MOST_PARTS = 100;
const SOME_AT_A_TIME = "`--secret NAME`, some of them at a time";

export interface RotationPlan {
  readonly record: Omit<PlanLine, "v" | "kind" | "at">;
  readonly targets: readonly Target[];
  /** Who uses them now. */
  readonly members: readonly Member[];
}

/** Writes nothing, anywhere. Throws McpRunError. */
export async function planRotation(
  request: RotationRequest,
  deps: PlanDeps,
  signal: AbortSignal,
): Promise<RotationPlan> {
  const { profile, typed, reason, operator, targets, revokeFirst, takeOver } = request;
  refuseUnfit(request);
  const { fleet, clock } = deps;
  const { key = newFingerprintKey() } = request;
  const planned = await Promise.all(
    targets.map((target) =>
      inTime({ clock, ...STORE_LIMIT, signal }, (limited) =>
        planTarget(target, key, deps, takeOver, limited),
      ).catch((error: unknown) => {
        throw aboutTarget(target.ref, error);
      }),
    ),
  );
  return {
    record: {
      rotation: newRotationId(clock.now()),
      profile,
      ...(typed && { typed: [...typed] }),
      reason,
      operator,
      key,
      targets: planned,
      options: { ...(revokeFirst && { revokeFirst }), ...(takeOver !== undefined && { takeOver }) },
    },
    targets,
    members: await fleet.list(inUse(planned), signal, Buffer.from(key, "base64url")),
  };
}

async function planTarget(
  target: Target,
  key: string,
  { keyIdOf, isLogin }: PlanDeps,
  takeOver: string | undefined,
  signal: AbortSignal,
): Promise<PlannedTarget> {
  if (target.own) return await planOwn(target, target.own, key, signal);
  const { ref, store } = target;
  const candidate = await store.findCandidate(signal);
  if (candidate && candidate.rotationId !== takeOver) throw heldByAnother(candidate);
  const present = await store.read(signal);
  if (present && present.version === undefined) {
    throw new ProviderError("invalid", "its store names no versions, so nobody could tell what is replaced");
  }
  await store.mustBeWritable?.(signal);
  const parts = target.parts.map(async (part): Promise<PlannedPart> => {
    const { name, from, field, issuer, comesWith } = part;
    const value = partValue(part, present?.value);
    if (value && isLogin?.(value)) throw ownLogin(name, "its value");
    const keyId = value && (await keyIdOf?.(from, (other) => fingerprintUnder(other, value)));
    return {
      name,
      from,
      issuer: issuer.kind,
      ...(field && { field: [...field] }),
      ...(comesWith !== undefined && { comesWith }),
      ...(comesWith === undefined && issuer.reencrypt && { reencrypts: true }),
      ...(value && printsOf(part, value, key)),
      ...(keyId !== undefined && { keyId }),
    };
  });
  const { version, place } = present ?? {};
  return {
    ref,
    ...(version !== undefined && { version }),
    ...(place !== undefined && { place }),
    parts: await Promise.all(parts),
  };
}

/** What its backend replaces by itself. Leases are only listed: to read one would be to make another. */
async function planOwn(
  { ref, parts }: Target,
  own: OwnRotation,
  key: string,
  signal: AbortSignal,
): Promise<PlannedTarget> {
  if (isLive(own)) await own.mayBegin?.(signal);
  const present = isLive(own) ? await own.read(signal) : undefined;
  const leases = isLive(own) ? undefined : await own.list(signal);
  const place = present?.place ?? (isLive(own) ? undefined : own.place);
  return {
    ref,
    mode: own.mode,
    ...(present?.version !== undefined && { version: present.version }),
    ...(place !== undefined && { place }),
    ...(leases && { leases: [...leases] }),
    parts: parts.map((part) => {
      const { name, from, field, issuer } = part;
      const value = partValue(part, present?.value);
      return {
        name,
        from,
        issuer: issuer.kind,
        ...(field && { field: [...field] }),
        ...(value && printsOf(part, value, key)),
      };
    }),
  };
}

/**
 * What servers have of them: all parts first, and of what lies within them as much as one message can name. Throws
 * McpRunError where it can't name all parts: nobody could be taken for done.
 */
function inUse(targets: readonly PlannedTarget[]): readonly SecretInUse[] {
  const parts = targets.flatMap(({ place, parts }) => parts.map((part) => ({ ...part, place })));
  const within = parts.flatMap(({ from, place, fields = [] }) =>
    fields.flatMap(({ way }) => nameWithin({ from, place }, way) ?? []),
  );
  const wholes = parts.map(({ from, place, fingerprint }) => ({ from, place, fingerprint }));
  if (!canBeNamedAtOnce(wholes)) {
    throw new McpRunError(
      "usage",
      `Cannot rotate ${wholes.length} secrets at once: servers are asked in one message, and their names are too long for it`,
      { hint: SOME_AT_A_TIME },
    );
  }
  return namedAtOnce(wholes, within);
}

/** «Cannot rotate REF: …» for what a provider says; everything else as it is. */
export function aboutTarget(ref: string, error: unknown): unknown {
  if (!(error instanceof ProviderError)) return error;
  return new McpRunError(error.code, `Cannot rotate ${ref}: ${error.reason}`, {
    ...(error.hint !== undefined && { hint: error.hint }),
    details: error.details,
  });
}

function refuseUnfit({ reason, targets, credentials }: RotationRequest): void {
  const refuse = (message: string, hint: string) => new McpRunError("usage", message, { hint });
  if (reason.trim() === "") {
    throw refuse(
      "Cannot rotate without a reason: it stands in the record",
      '`--reason "leaked in build log"`',
    );
  }
  if (targets.length === 0)
    throw refuse("Cannot rotate nothing: no secret is named", "`--secret NAME` or `--all`");
  const all = targets.flatMap(({ parts }) => parts);
  if (all.length > MOST_PARTS) {
    throw refuse(`Cannot rotate ${all.length} secrets at once: ${MOST_PARTS} are the most`, SOME_AT_A_TIME);
  }
  const names = new Set(all.map(({ name }) => name));
  if (names.size < all.length || new Set(targets.map(({ ref }) => ref)).size < targets.length) {
    throw new Error("a rotation was given a secret or a document twice");
  }
  for (const { ref, parts } of targets) {
    if (parts.length > 1 && parts.some(({ field }) => !field)) {
      throw refuse(
        `Cannot rotate ${ref}: ${parts.map(({ name }) => name).join(" and ")} can't all be its value`,
        "refs with a #key each",
      );
    }
    for (const { name, from, comesWith } of parts) {
      if (comesWith !== undefined && !names.has(comesWith))
        throw new Error(`${name} comes with ${comesWith}`);
      const credential = [...credentials].find((other) => overlap(from, other));
      if (credential !== undefined) throw ownLogin(name, credential);
    }
  }
}

function ownLogin(name: string, credential: string): McpRunError {
  return new McpRunError(
    "usage",
    `Cannot rotate ${name}: ${credential} is what this rotation itself logs in with`,
    {
      hint: "another login for the one who rotates, or rotating it by hand",
    },
  );
}

/** Whether a change of one is a change of the other: the same document, and one field within the other. */
function overlap(one: string, other: string): boolean {
  const [first, second] = [parseRef(one), parseRef(other)];
  if (!first.ok || !second.ok) return one === other;
  const isSameDocument =
    first.ref.provider === second.ref.provider && first.ref.request.path === second.ref.request.path;
  const [fields, others] = [first.ref.field ?? [], second.ref.field ?? []];
  const shorter = Math.min(fields.length, others.length);
  return isSameDocument && fields.slice(0, shorter).every((step, index) => step === others[index]);
}

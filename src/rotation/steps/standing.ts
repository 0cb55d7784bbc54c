/** Whose values a store has now: others may write to it while a rotation is under way, or has to be gone on with. */
import { ProviderError } from "../../errors.ts";
import type { FetchedSecret } from "../../secrets/provider.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Target, TargetPart } from "../contract.ts";
import type { Prints } from "../fingerprints.ts";
import { isLive } from "../modes.ts";
import type { Run } from "../run.ts";
import { partValue } from "../target.ts";

export interface PartStanding {
  readonly part: TargetPart;
  readonly value: Secret | undefined;
  /** `old` is what was planned to be replaced, `ours` what this rotation has made for it. */
  readonly whose: "old" | "ours" | "another" | "nobody";
}

export interface Standing {
  readonly version: string | undefined;
  readonly document: Secret | undefined;
  /** Of leases none: whoever asks gets another. */
  readonly parts: readonly PartStanding[];
}

/** What is there now; of leases undefined. Rejects with ProviderError, when a store does not answer after a minute. */
export async function presentOf(
  run: Run,
  { own, store }: Target,
  signal: AbortSignal,
): Promise<FetchedSecret | undefined> {
  if (own && !isLive(own)) return undefined;
  return run.fromStore(signal, (limited) => (own ?? store).read(limited));
}

/** Rejects as presentOf does. */
export async function standingOf(run: Run, target: Target, signal: AbortSignal): Promise<Standing> {
  const present = await presentOf(run, target, signal);
  const parts = target.own && !isLive(target.own) ? [] : target.parts;
  return {
    version: present?.version,
    document: present?.value,
    parts: parts.map((part) => standingOfPart(run, part, partValue(part, present?.value))),
  };
}

function standingOfPart(run: Run, part: TargetPart, value: Secret | undefined): PartStanding {
  if (!value) return { part, value, whose: "nobody" };
  const print = run.fingerprint(value);
  if (print === newPrint(run, part)) return { part, value, whose: "ours" };
  return { part, value, whose: run.isOldKey(part, value) ? "old" : "another" };
}

/** Whether it shows that our values have been promoted: what came along and is as it was shows nothing. */
export function isOurs(run: Run, { parts }: Standing): boolean {
  return parts.some(
    ({ part, whose }) => whose === "ours" && newPrint(run, part) !== run.planned(part.name).fingerprint,
  );
}

/** Whether somebody else has put keys of his own where ours were to go: all of them, but for what came along as it was. */
export function isTheirs(run: Run, { parts }: Standing): boolean {
  const keys = parts.filter(({ part }) => newPrint(run, part) !== run.planned(part.name).fingerprint);
  const isTheirKey = ({ part, value, whose }: PartStanding) =>
    whose === "another" && value !== undefined && !run.isKeyOf(newPrint(run, part), value);
  return keys.length > 0 && keys.every(isTheirKey);
}

function newPrint({ progress }: Run, { name }: TargetPart): string | undefined {
  return progress.mintedFor(name).at(-1)?.fingerprint;
}

export interface Replaced {
  readonly prints: Prints;
  /** What has happened: a state. */
  readonly reason: string;
}

/**
 * The parts that somebody else has replaced since, by name: servers take that. What can't be looked at is taken to be
 * as it was left.
 */
export async function replacedByOthers(
  run: Run,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Replaced>> {
  const looks = run.targets.map(async (target) => {
    const standing = await standingOf(run, target, signal).catch(nothingKnown);
    return (standing?.parts ?? []).flatMap(({ part, value, whose }): readonly [string, Replaced][] => {
      if (whose !== "another" || !value || !standing) return [];
      const reason = replacedText(run, target, part, standing);
      return [[part.name, { prints: run.prints(part, value), reason }]];
    });
  });
  return new Map((await Promise.all(looks)).flat());
}

/** A rotation after ours ends our key as its old one; somebody at a console may not think of it. */
export function replacedText(
  { progress }: Run,
  { ref }: Target,
  { name, comesWith }: TargetPart,
  { version }: Standing,
): string {
  const minted =
    comesWith === undefined && !progress.isSetAside(ref) ? progress.mintedFor(name).at(-1) : undefined;
  const keyId = minted?.keyId === undefined ? "" : ` ${minted.keyId}`;
  const ours = minted ? `; the key${keyId} that this rotation has made may be valid still` : "";
  return `${theirsText(name, ref, version)}${ours}`;
}

export function theirsText(names: string, ref: string, version: string | undefined): string {
  const by = version === undefined ? "" : `, and version ${version} is current`;
  return `somebody else has replaced ${names} of ${ref} since${by}`;
}

/** Somebody has written to the document or holds it, or the candidate is gone. */
export function isRefused(error: unknown): error is ProviderError {
  return error instanceof ProviderError && (error.failure === "conflict" || error.failure === "missing");
}

/** For a store that can't be looked at. */
export function nothingKnown(error: unknown): undefined {
  if (!(error instanceof ProviderError)) throw error;
}

/**
 * Taking back what was done: before anybody has the new key by itself, after that only when the operator wants it.
 * What was minted is ended, and nothing but the old key is left.
 */
import { ProviderError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { KeyToEnd, Target, TargetPart } from "../contract.ts";
import { commandOf, type Facts, type PartFacts } from "../journal/journal-line.ts";
import { hasStep } from "../modes.ts";
import type { OverallStep, Run, Step, TargetStep } from "../run.ts";
import { partValue } from "../target.ts";
import { asFacts, settledPart } from "./ending.ts";
import { candidateOf, dropCandidate } from "./mint.ts";
import { spread } from "./spread.ts";
import { nothingKnown, replacedByOthers, standingOf } from "./standing.ts";
import { wantedOf } from "./wanted.ts";

export const revokeNew: TargetStep = {
  name: "revoke-new",
  isNeeded: ({ progress }, { ref }) => progress.isBegun("mint", ref),
  async forTarget(run, target, signal) {
    const parts: PartFacts[] = [];
    for (const part of target.parts) {
      if (part.comesWith !== undefined) continue;
      const settled = await settledPart(async () => ({
        result: await revokeMinted(run, target, part, signal),
      }));
      if (settled.result === "unknown")
        run.note(`a new key for ${part.name} was minted, and nobody has revoked it`);
      parts.push({ name: part.name, ...settled });
    }
    return asFacts(parts, ["revoked", "unknown", "none"], () => "was minted anew and may be valid");
  },
};

type Result = "revoked" | "unknown" | "none";

async function revokeMinted(
  run: Run,
  target: Target,
  part: TargetPart,
  signal: AbortSignal,
): Promise<Result> {
  // Where the issuer could not even be asked what it has made, there is nothing to end.
  if (!run.mayBeMinted.has(part.name)) return "none";
  const keys = await mintedKeys(run, target, part, signal);
  let result: Result = "none";
  for (const key of keys) {
    const came = await part.issuer.revoke(run.request(part), key, signal);
    if (result !== "unknown") result = came;
  }
  return result;
}

/** Every key that this rotation has had made, as well as it is known. */
async function mintedKeys(
  run: Run,
  target: Target,
  part: TargetPart,
  signal: AbortSignal,
): Promise<readonly KeyToEnd[]> {
  const { progress } = run;
  const isCandidate = !progress.mayBePromoted(target.ref);
  const minted = progress.mintedFor(part.name);
  const last = minted.at(-1);
  const present = await newValue(run, target, part, signal);
  const found = present ? undefined : await part.issuer.find(run.request(part), signal);
  const value = present ?? found?.value;
  // An issuer that gives the old key for a new one must not be told to end it.
  const isOld = value && run.isOldKey(part, value);
  const keyId = found?.keyId ?? run.keyIds.get(part.name) ?? last?.keyId;
  const latest = !isOld && (value || keyId !== undefined || last);
  const strays = minted.flatMap((key) =>
    key.keyId !== undefined && key.keyId !== keyId ? [{ keyId: key.keyId, isCandidate: true }] : [],
  );
  if (!latest) return strays;
  return [
    ...strays,
    { ...(keyId !== undefined && { keyId }), ...(value && { value }), ...(isCandidate && { isCandidate }) },
  ];
}

/** From memory, from the candidate, or from the version that it was promoted to. */
export async function newValue(run: Run, target: Target, part: TargetPart, signal: AbortSignal) {
  const { progress, values } = run;
  const known = values.get(part.name);
  if (known) return known;
  const version = progress.factsOf("promote", target.ref)?.version;
  try {
    const document =
      version === undefined
        ? await candidateOf(run, target, signal)
        : (await run.fromStore(signal, (limited) => target.store.readVersion(version, limited)))?.value;
    const value = partValue(part, document);
    const expected = progress.mintedFor(part.name).at(-1)?.fingerprint;
    return value && run.fingerprint(value) === expected ? value : undefined;
  } catch (error) {
    // The issuer may know it by another name.
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

export const discard: TargetStep = {
  name: "discard",
  isBounded: true,
  isNeeded: (_run, target) => hasStep(target, "discard"),
  async forTarget(run, target, signal) {
    await dropCandidate(run, target, signal);
    await retireGivenUp(run, target, signal);
    return {};
  },
};

/**
 * What was promoted and taken back, once it is revoked; and where the old value has come back under another name, the
 * one that it had: else a later rotation of that value would leave it to be read.
 */
async function retireGivenUp({ progress }: Run, { ref, store }: Target, signal: AbortSignal): Promise<void> {
  const restored = progress.factsOf("restore", ref)?.version;
  if (restored === undefined) return;
  const given = progress.isDone("revoke-new", ref) ? progress.factsOf("promote", ref)?.version : undefined;
  const before = progress.factsOf("candidate", ref)?.base;
  for (const version of new Set([given, before]))
    if (version != null && version !== restored) await store.retire(version, signal);
}

/** Looks first: a restoration that was broken off may be done, and a promotion may not. */
const restore: TargetStep = {
  name: "restore",
  isBounded: true,
  isNeeded: ({ progress }, { ref }) => progress.mayBePromoted(ref),
  async forTarget(run, target, signal) {
    const { ref, store } = target;
    const { base, fingerprint } = run.progress.factsOf("candidate", ref) ?? {};
    const { document, version, parts } = await standingOf(run, target, signal);
    if (document && run.fingerprint(document) === fingerprint) {
      if (version === undefined) throw new ProviderError("invalid", "its store names no versions");
      if (base == null) return removeNew(run, target, { version, document }, signal);
      return { version: (await store.restore(base, version, signal)).version };
    }
    if (isAsPlanned(run, target, document)) return { ...(version !== undefined && { version }) };
    // Whether it ever was promoted nobody can say; what is there now is somebody else's, and stays.
    if (!run.progress.isDone("promote", ref) && parts.every(({ whose }) => whose === "another"))
      return {
        reason: "somebody else has replaced it: it is left as it is, and the old key may be valid still",
      };
    throw changedSince(ref);
  },
};

/** Of each part the old value, or none where there was none. */
function isAsPlanned(run: Run, { parts }: Target, document: Secret | undefined): boolean {
  return parts.every((part) => run.isPlanned(part, partValue(part, document)));
}

function changedSince(ref: string): ProviderError {
  return new ProviderError("conflict", `somebody has changed ${ref} since it was promoted`, {
    hint: "putting the old value back by hand",
  });
}

/** What keeps an old value from being put back for certain, and what to try: before a rotation goes back for good. */
export async function obstacleToRestoring(
  run: Run,
  signal: AbortSignal,
): Promise<{ readonly reason: string; readonly hint: string } | undefined> {
  const promoted = run.targets.filter(({ ref }) => run.progress.isDone("promote", ref));
  const looks = promoted.map(async (target) => {
    const standing = await standingOf(run, target, signal).catch(nothingKnown);
    if (!standing || isAsPlanned(run, target, standing.document)) return undefined;
    const { fingerprint } = run.progress.factsOf("candidate", target.ref) ?? {};
    const isAsPromoted = standing.document && run.fingerprint(standing.document) === fingerprint;
    if (isAsPromoted) return undefined;
    const isTheirs = standing.parts.some(({ whose }) => whose === "another");
    const hint = isTheirs ? commandOf(run.plan, "--resume") : "putting the old value back by hand first";
    return { reason: changedSince(target.ref).reason, hint };
  });
  return (await Promise.all(looks)).find((obstacle) => obstacle !== undefined);
}

/** There was nothing before. What can't be removed has no key in it that works once this way back is done. */
async function removeNew(
  run: Run,
  { ref, parts, store }: Target,
  { version, document }: { readonly version: string; readonly document: Secret },
  signal: AbortSignal,
): Promise<Facts> {
  // To be ended yet, and an issuer may know it by nothing but its value.
  for (const part of parts) {
    const value = partValue(part, document);
    if (value) run.values.set(part.name, value);
  }
  try {
    await store.remove(version, signal);
  } catch (error) {
    if (!(error instanceof ProviderError) || !UNREMOVABLE.has(error.failure)) throw error;
    run.note(`${ref} was not there before this rotation, and its new value is there still: ${error.reason}`);
  }
  return {};
}

const UNREMOVABLE: ReadonlySet<ProviderError["failure"]> = new Set(["denied", "invalid"]);

const spreadBack: OverallStep = {
  name: "spread-back",
  async forAll(run, signal) {
    const look = async () => {
      const replaced = await replacedByOthers(run, signal);
      const wanted = wantedOf(
        run,
        (part) => replaced.get(part.name)?.prints ?? part,
        ({ name }) => run.progress.mintedFor(name).at(-1),
      );
      return { wanted, replaced: new Map() };
    };
    return spread(run, look, "the old value again", signal);
  },
};

/** Nobody has the new key: it is ended while the candidate still tells its value. */
export const STEPS_OF_DISCARDING: readonly Step[] = [revokeNew, discard];

/** As long as the old key is not revoked. */
export const STEPS_OF_ROLLBACK: readonly Step[] = [restore, spreadBack, revokeNew, discard];

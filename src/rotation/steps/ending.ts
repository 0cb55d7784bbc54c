/**
 * The end of the old key, in this order: its issuer refuses it, that is seen, and our stores no longer hand it out.
 * What fails for one key keeps nobody from ending the others; a key that may still be valid is retired nowhere.
 */
import { pause } from "../../clock.ts";
import { McpRunError, ProviderError } from "../../errors.ts";
import { tryOldKey } from "../canary/old-key-trial.ts";
import type { KeyToEnd, Target, TargetPart } from "../contract.ts";
import { commandOf, type Facts, type PartFacts } from "../journal/journal-line.ts";
import { isLive, modeOf } from "../modes.ts";
import { noWayBack, takeOverOf } from "../no-way-back.ts";
import { type Run, reasonOf, type TargetStep } from "../run.ts";
import { partValue } from "../target.ts";
import { revokeLeases, triesOf, verifyLeases } from "./backend-steps.ts";
import { replacedText, type Standing, standingOf } from "./standing.ts";

/** Ms between two looks whether the issuer refuses the key by now: a revocation takes its time to get around. */
const VERIFY_PAUSES_MS = [1_000, 2_000, 4_000];

const revoke: TargetStep = {
  name: "revoke",
  isNeeded: (run, target) => endingParts(run, target).length > 0 && mayBeEnded(run, target),
  async forTarget(run, target, signal) {
    if (modeOf(target).revokes === "each-lease") return revokeLeases(run, target, signal);
    const ending = endingParts(run, target);
    const standing = await standingSince(run, target, signal);
    const back = standing?.parts.find(({ part, whose }) => whose === "old" && ending.includes(part));
    if (back) return keptFor(run, target, back.part);
    const parts: PartFacts[] = [];
    for (const part of ending) {
      const known = knownEnd(run, part);
      if (known) parts.push({ name: part.name, result: known });
      else
        parts.push({
          name: part.name,
          ...(await settledPart(() => revokeOld(run, target, part, signal), run)),
        });
      await revokeStrays(run, part, signal);
    }
    for (const [at, settled] of parts.entries()) {
      const found = standing?.parts.find(({ part }) => part.name === settled.name);
      if (!standing || found?.whose !== "another") continue;
      parts[at] = { reason: replacedText(run, target, found.part, standing), ...settled };
    }
    return asFacts(parts, ["revoked", "by-hand"], () => "may be valid still");
  },
};

const verify: TargetStep = {
  name: "verify",
  isNeeded: (run, target) => run.progress.isDone("revoke", target.ref),
  async forTarget(run, target, signal) {
    if (modeOf(target).revokes === "each-lease") return verifyLeases(run, target, signal);
    const parts: PartFacts[] = [];
    for (const part of endingParts(run, target)) {
      parts.push({
        name: part.name,
        ...(await settledPart(() => verifyOld(run, target, part, signal), run)),
      });
    }
    return asFacts(parts, ["refused", "unknown"], ({ result }) =>
      result === "accepted" ? "is accepted still" : "may be accepted still",
    );
  },
};

const retire: TargetStep = {
  name: "retire",
  isBounded: true,
  isNeeded: (run, target) =>
    run.progress.isDone("verify", target.ref) &&
    (target.own !== undefined ||
      run.progress.isSetAside(target.ref) ||
      run.progress.isDone("promote", target.ref)),
  async forTarget({ progress, deps }, { ref, parts, store, own }, signal) {
    await deps.forgetCopies?.(parts.map(({ from }) => from));
    for (const version of progress.basesOf(ref)) {
      if (!own) await store.retire(version, signal);
      else if (isLive(own)) await own.retire?.(version, signal);
    }
    return {};
  },
};

export const endingSteps = { revoke, verify, retire } as const;

/** Those with an old key that somebody has to end. */
export function endingParts(run: Run, { ref, parts }: Target): readonly TargetPart[] {
  const hasLeases = run.plan.targets.some((target) => target.ref === ref && target.leases?.length);
  return parts.filter(
    ({ name, comesWith }) =>
      comesWith === undefined && (hasLeases || run.planned(name).fingerprint !== undefined),
  );
}

/**
 * What a backend replaces by itself is not ended before that, and by hand not before every server has the new one; a
 * key that data is encrypted with, not before it is encrypted anew.
 */
function mayBeEnded(run: Run, target: Target): boolean {
  const { progress } = run;
  const encrypts = endingParts(run, target).some(({ issuer }) => issuer.reencrypt !== undefined);
  if (encrypts && !progress.isDone("reencrypt", target.ref)) return false;
  if (!target.own || !isLive(target.own)) return true;
  const isByHand = modeOf(target).revokes === "by-hand";
  return progress.isDone("rotate", target.ref) && (!isByHand || progress.isDone("spread"));
}

/** How it was ended before, if that has not shown to be wrong. */
function knownEnd({ progress }: Run, { name }: TargetPart): "revoked" | "by-hand" | undefined {
  const known = progress.resultOf("revoke", name);
  const isAccepted = progress.resultOf("verify", name) === "accepted";
  return !isAccepted && (known === "revoked" || known === "by-hand") ? known : undefined;
}

/** What is in the store is what servers take, whoever has put it there. Undefined where it can't be looked at. */
async function standingSince(run: Run, target: Target, signal: AbortSignal): Promise<Standing | undefined> {
  const { progress } = run;
  const isThere = progress.isDone(target.own ? "rotate" : "promote", target.ref);
  if (!isThere && !progress.isSetAside(target.ref)) return undefined;
  try {
    return await standingOf(run, target, signal);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    run.note(`it could not be seen whether ${target.ref} has the old value again: ${error.reason}`);
    return undefined;
  }
}

/** None of its keys is ended where the old value is what servers take. */
function keptFor(run: Run, target: Target, { name }: TargetPart): Facts {
  const { ref, own } = target;
  const { progress, plan } = run;
  const wasCut = triesOf(run, ref, "revoke") > 1;
  const reason = `somebody has put the old ${name} back into ${ref}, where servers take it`;
  const { version } = progress.factsOf(own ? "rotate" : "promote", ref) ?? {};
  const isWay = !wasCut && noWayBack(run, ref) === undefined;
  const forward =
    version === undefined
      ? "putting the new value there again"
      : `making version ${version} of it the current one again`;
  const another = isWay
    ? `\`${commandOf(plan, "--rollback")}\`, which ends the new key, and another rotation after that`
    : `${forward}, and \`${commandOf(plan, "--resume")}\` after that`;
  run.hint ??= progress.isSetAside(ref) ? takeOverOf(run) : another;
  // What came of a try that was cut off nobody knows.
  const parts = endingParts(run, target).map((part) => ({
    name: part.name,
    result: knownEnd(run, part) ?? ("failed" as const),
  }));
  return { isDone: false, ...(wasCut && { parts }), reason };
}

type Settled = Pick<PartFacts, "result" | "reason">;

async function revokeOld(run: Run, target: Target, part: TargetPart, signal: AbortSignal): Promise<Settled> {
  // Its backend has ended it in the moment in which it made the new one.
  if (modeOf(target).revokes === "at-once") return { result: "revoked" };
  const key = await oldKey(run, target, part, signal);
  const { issuer, name } = part;
  if ((await issuer.revoke(run.request(part), key, signal)) === "revoked") return { result: "revoked" };
  const { keyId } = key;
  const answer = await run.ask(
    {
      type: "revoked-by-hand",
      secret: name,
      target: target.ref,
      issuer: issuer.kind,
      ...(keyId !== undefined && { keyId }),
    },
    signal,
  );
  return answer === "go-on" ? { result: "by-hand" } : { result: "unknown", reason: "nobody has revoked it" };
}

async function verifyOld(run: Run, target: Target, part: TargetPart, signal: AbortSignal): Promise<Settled> {
  const key = await oldKey(run, target, part, signal);
  for (const ms of [...VERIFY_PAUSES_MS, undefined]) {
    const said = await part.issuer.verify(run.request(part), key, signal);
    const tried = said === "accepted" ? undefined : await tryOldKey(run, part, signal);
    const settled = tried && tried.result !== "unknown" ? tried : { result: said };
    if (settled.result === "unknown")
      run.note(`nobody could be asked whether the old ${part.name} is refused`);
    if (settled.result !== "accepted" || ms === undefined) return settled;
    await pause(run.deps.clock, ms, signal);
  }
  throw new Error("the last look has no pause after it");
}

/** Keys that were minted for this rotation and lost in a crash; whoever minted them anew has another. */
async function revokeStrays(run: Run, part: TargetPart, signal: AbortSignal): Promise<void> {
  const minted = run.progress.mintedFor(part.name);
  const last = minted.at(-1)?.keyId;
  for (const { keyId } of minted.slice(0, -1)) {
    if (keyId === undefined || keyId === last) continue;
    const { result } = await settledPart(async () => ({
      result: await part.issuer.revoke(run.request(part), { keyId, isCandidate: true }, signal),
    }));
    if (result !== "revoked")
      run.note(`${keyId} was minted for ${part.name}, is in nobody's hands, and may be valid`);
  }
}

/** With the value if some store still has it; an issuer may know the key by another name. */
export async function oldKey(
  run: Run,
  target: Target,
  part: TargetPart,
  signal: AbortSignal,
): Promise<KeyToEnd> {
  const { keyId } = run.planned(part.name);
  // Nobody is told of it.
  if (target.own) return {};
  const base = run.progress.basesOf(target.ref).at(-1);
  let value: KeyToEnd["value"];
  try {
    const read = (version: string) =>
      run.fromStore(signal, (limited) => target.store.readVersion(version, limited));
    const document = base === undefined ? undefined : await read(base);
    const found = partValue(part, document?.value);
    // Its issuer is told of no other key, whatever the store says by now.
    value = run.isPlanned(part, found) ? found : run.oldValues.get(part.name);
    if (!value && base !== undefined)
      run.note(`version ${base} of ${target.ref} does not have the old ${part.name} any more`);
  } catch (error) {
    if (!(error instanceof McpRunError)) throw error;
    value = run.oldValues.get(part.name);
    if (!value) run.note(`the old ${part.name} could not be read again: ${reasonOf(error)}`);
  }
  return { ...(keyId !== undefined && { keyId }), ...(value && { value }) };
}

/**
 * A failure of the family is what came of this key; others are not kept waiting for it.
 *
 * @param run one that can't end with it: what to try is said then
 */
export async function settledPart(work: () => Promise<Settled>, run?: Run): Promise<Settled> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof McpRunError) || error.code === "interrupted") throw error;
    if (run) run.hint ??= error.hint;
    return { result: "failed", reason: reasonOf(error) };
  }
}

/** @param state said of each key whose result is none of the good ones */
export function asFacts(
  parts: readonly PartFacts[],
  good: readonly NonNullable<PartFacts["result"]>[],
  state: (part: PartFacts) => string,
): Facts {
  const bad = parts.filter(({ result }) => result === undefined || !good.includes(result));
  if (bad.length === 0) return { parts: [...parts] };
  const told = bad.map((part) => {
    const { name, reason } = part;
    return `${name} ${state(part)}${reason === undefined ? "" : ` (${reason})`}`;
  });
  return { isDone: false, parts: [...parts], reason: told.join("; ") };
}

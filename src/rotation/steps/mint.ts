/**
 * Where the new values come from: what this rotation's candidates hold already, what the issuer has made for it
 * before, or a new key. Values are in memory and in the stores only, so after a crash they are looked for in that
 * order, and a key that nobody can find is minted again.
 */
import { McpRunError, ProviderError } from "../../errors.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Minted, Target, TargetPart } from "../contract.ts";
import type { PartFacts } from "../journal/journal-line.ts";
import { hasStep } from "../modes.ts";
import type { Run, TargetStep } from "../run.ts";
import { partValue } from "../target.ts";

interface Family {
  /** The part whose issuer is asked. */
  readonly leader: TargetPart;
  /** With the leader, and where each belongs. */
  readonly members: readonly { readonly part: TargetPart; readonly target: Target }[];
}

export const mintStep: TargetStep = {
  name: "mint",
  isNeeded: (run, target) =>
    hasStep(target, "mint") &&
    !run.progress.isSetAside(target.ref) &&
    familiesOf(run, target).some((family) => lacking(run, family).length > 0),
  async forTarget(run, target, signal) {
    const parts: PartFacts[] = [];
    for (const family of familiesOf(run, target)) {
      const lost = lacking(run, family);
      const isLost = lost.length > 0 && !(await takenFromCandidates(run, lost, signal));
      if (isLost) await mintOrFind(run, family, signal);
      parts.push(...factsOf(run, family));
    }
    return { parts };
  },
};

/** Of the target's own parts those that have an issuer of their own. */
function familiesOf(run: Run, target: Target): readonly Family[] {
  const all = run.targets.flatMap((other) => other.parts.map((part) => ({ part, target: other })));
  return target.parts
    .filter(({ comesWith }) => comesWith === undefined)
    .map((leader) => ({
      leader,
      members: all.filter(({ part }) => part === leader || part.comesWith === leader.name),
    }));
}

/** Those whose new value is neither in memory nor, for certain, in a candidate. */
function lacking(run: Run, { members }: Family): Family["members"] {
  return members.filter(
    ({ part, target }) => !run.values.has(part.name) && !run.progress.isDone("candidate", target.ref),
  );
}

async function takenFromCandidates(run: Run, lost: Family["members"], signal: AbortSignal): Promise<boolean> {
  const found = new Map<string, Secret>();
  for (const { part, target } of lost) {
    // Without an intent there can't be one.
    if (run.progress.mintedFor(part.name).length === 0) return false;
    const value = partValue(part, await candidateOf(run, target, signal));
    if (!value || run.fingerprint(value) !== run.progress.mintedFor(part.name).at(-1)?.fingerprint)
      return false;
    found.set(part.name, value);
  }
  for (const [name, value] of found) run.values.set(name, value);
  return true;
}

/** This rotation's, if there is one. Throws ProviderError, also when its store does not answer after a minute. */
export async function candidateOf(
  run: Run,
  { store }: Target,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  try {
    const fetching = (limited: AbortSignal) => store.fetchCandidate(run.plan.rotation, limited);
    return (await run.fromStore(signal, fetching)).value;
  } catch (error) {
    if (error instanceof ProviderError && error.failure === "missing") return undefined;
    throw error;
  }
}

/** Takes it away; where another rotation has taken the place over, nothing of ours is there. Throws ProviderError. */
export async function dropCandidate(run: Run, { store }: Target, signal: AbortSignal): Promise<void> {
  try {
    await store.discard(run.plan.rotation, signal);
  } catch (error) {
    if (!(error instanceof ProviderError) || error.failure !== "conflict") throw error;
  }
}

async function mintOrFind(run: Run, family: Family, signal: AbortSignal): Promise<void> {
  const { leader, members } = family;
  const { issuer, name } = leader;
  const request = run.request(leader);
  // First: an issuer that shows a value only once ends what it finds, since nobody has it.
  const promoted = members.find(({ target }) => run.progress.mayBePromoted(target.ref));
  if (promoted) {
    throw new McpRunError(
      "rotation-incomplete",
      `the new value of ${name} is in use already at ${promoted.target.ref}, and could not be found again`,
    );
  }
  const found = await issuer.find(request, signal);
  if (!found && issuer.kind === "hook" && isRepeated(run, family)) {
    run.note(`${name} was minted again: what was made before is in nobody's hands`);
  }
  run.mayBeMinted.add(name);
  take(run, family, found ?? (await issuer.mint(request, signal)));
}

/** Whether there was a try before this one, of which nothing may be known. */
function isRepeated({ journal }: Run, { leader, members }: Family): boolean {
  const ref = members.find(({ part }) => part === leader)?.target.ref;
  const tries = journal.lines.filter(
    (line) => line.kind === "intent" && line.step === "mint" && line.target === ref,
  );
  return tries.length > 1;
}

function take(run: Run, { leader, members }: Family, minted: Minted): void {
  const values = members.map(({ part }) => {
    const value = part === leader ? minted.value : minted.along?.get(part.name);
    if (!value || value.isEmpty) {
      throw new McpRunError(
        "secret-invalid",
        `no new value of ${part.name} came from its issuer (${leader.issuer.kind})`,
      );
    }
    // What comes along may stay: a user's name, for one.
    if (part === leader && run.isOldKey(part, value)) {
      throw new McpRunError("secret-invalid", `the new value of ${part.name} is the old one`);
    }
    return [part.name, value] as const;
  });
  for (const [name, value] of values) run.values.set(name, value);
  if (minted.keyId === undefined) run.keyIds.delete(leader.name);
  else run.keyIds.set(leader.name, minted.keyId);
}

function factsOf(run: Run, { members }: Family): readonly PartFacts[] {
  return members.map(({ part }) => {
    const { name } = part;
    const value = run.values.get(name);
    const known = run.progress.mintedFor(name).at(-1);
    const { fingerprint, fields } = value ? run.prints(part, value) : (known ?? {});
    const keyId = run.keyIds.get(name) ?? (fingerprint === known?.fingerprint ? known?.keyId : undefined);
    return {
      name,
      ...(fingerprint !== undefined && { fingerprint }),
      ...(fields && { fields }),
      ...(keyId !== undefined && { keyId }),
    };
  });
}

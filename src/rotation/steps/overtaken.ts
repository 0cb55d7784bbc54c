/**
 * What has become of a rotation that somebody else has come between: another rotation that was faster or has taken its
 * place over, or a person at a console.
 */
import { McpRunError, ProviderError } from "../../errors.ts";
import type { Target } from "../contract.ts";
import type { Run } from "../run.ts";
import { triesOf } from "./backend-steps.ts";
import { candidateOf } from "./mint.ts";
import { isOurs, isTheirs, standingOf } from "./standing.ts";

/** `overtaken`: it was not promoted, and somebody else has written to the document. */
type Became = "promoted" | "as-it-was" | "overtaken" | "unknown";

/** What has come of the promotion of a target, or of none. */
export async function whatBecame(run: Run, target: Target, signal: AbortSignal): Promise<Became> {
  const { base, fingerprint } = run.progress.factsOf("candidate", target.ref) ?? {};
  try {
    const standing = await standingOf(run, target, signal);
    const { document, version } = standing;
    if (document && run.fingerprint(document) === fingerprint) return "promoted";
    if (isOurs(run, standing)) return "promoted";
    if (version === (base ?? undefined)) return "as-it-was";
    return (await candidateOf(run, target, signal)) === undefined ? "unknown" : "overtaken";
  } catch (error) {
    if (error instanceof McpRunError || signal.aborted) return "unknown";
    throw error;
  }
}

/**
 * True only if it is certain.
 *
 * @param error what the promotion has failed with
 */
export async function isNotPromoted(
  run: Run,
  target: Target,
  error: unknown,
  signal: AbortSignal,
): Promise<boolean> {
  const became = await whatBecame(run, target, signal);
  if (became !== "unknown") return became !== "promoted";
  // Somebody has taken the candidate away before the one try that there was.
  const isMissing = error instanceof ProviderError && error.failure === "missing";
  return isMissing && triesOf(run, target.ref, "promote") === 1;
}

/**
 * Whether nobody needs our new keys although old ones may be revoked: none is promoted, and where an old one was
 * somebody else has put a key of theirs. True only if it is certain.
 */
export async function isOutOfUse(run: Run, signal: AbortSignal): Promise<boolean> {
  const { progress, targets } = run;
  if (progress.isReplacedByBackend || targets.some(({ ref }) => progress.mayBePromoted(ref))) return false;
  try {
    for (const target of targets.filter(({ ref }) => progress.isBegun("revoke", ref))) {
      // Who had a lease that was revoked takes no other before somebody tells him to.
      if (!isTheirs(run, await standingOf(run, target, signal))) return false;
    }
    return true;
  } catch (error) {
    if (error instanceof McpRunError) return false;
    throw error;
  }
}

/** Whether what a rotation has done can be taken back. */
import { hasStep } from "./modes.ts";
import type { Run } from "./run.ts";

/**
 * Why nothing can be put back; a state.
 *
 * @param untouched the target whose revocation has begun, and has ended nothing
 */
export function noWayBack({ progress, targets }: Run, untouched?: string): string | undefined {
  if (progress.isReplacedByBackend)
    return "a backend may have replaced a key by itself, and nobody can put the old one back";
  const mayEncrypt = targets.some(
    (target) => hasStep(target, "reencrypt") && progress.mayBePromoted(target.ref),
  );
  // By whatever server has it, and the way back would end it.
  if (mayEncrypt) return "data may be encrypted with the new key already";
  return progress.mayBeRevoked(untouched)
    ? "the old key may be revoked, and nothing else would work then"
    : undefined;
}

/** What to try where this rotation can neither go on nor back. */
export function takeOverOf({ plan }: Run): string {
  return `another rotation of all of them, with \`--take-over ${plan.rotation}\``;
}

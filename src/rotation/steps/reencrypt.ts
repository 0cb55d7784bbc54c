/**
 * Keys that data is encrypted with: when every server has the new one, the hook encrypts anew what the old one has
 * encrypted. Until it says that nothing is left the old key is not ended, whatever else is wanted.
 */
import type { Target, TargetPart } from "../contract.ts";
import type { PartFacts } from "../journal/journal-line.ts";
import type { Run, TargetStep } from "../run.ts";
import { endingParts, oldKey } from "./ending.ts";
import { newValue } from "./ways-back.ts";

export const reencryptStep: TargetStep = {
  name: "reencrypt",
  isNeeded: (run, target) => encryptingParts(run, target).length > 0,
  async forTarget(run, target, signal) {
    const parts: PartFacts[] = [];
    for (const part of encryptingParts(run, target)) {
      const keyId = run.keyIds.get(part.name) ?? run.progress.mintedFor(part.name).at(-1)?.keyId;
      const value = await newValue(run, target, part, signal);
      const isDone = await part.issuer.reencrypt?.(
        run.request(part),
        {
          before: await oldKey(run, target, part, signal),
          after: { ...(keyId !== undefined && { keyId }), ...(value && { value }) },
        },
        signal,
      );
      if (!isDone) {
        const reason = `not everything that the old ${part.name} has encrypted is encrypted anew`;
        return { isDone: false, parts: [...parts, { name: part.name }], reason };
      }
      parts.push({ name: part.name });
    }
    return { parts };
  },
};

function encryptingParts(run: Run, target: Target): readonly TargetPart[] {
  return endingParts(run, target).filter(({ issuer }) => issuer.reencrypt !== undefined);
}

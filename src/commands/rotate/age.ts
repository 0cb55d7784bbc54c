/** `--if-older-than`: what is younger is left as it is. */
import type { Target } from "../../rotation/contract.ts";
import { isLive } from "../../rotation/modes.ts";
import { aboutTarget } from "../../rotation/plan.ts";

/**
 * Those that were last written at `since`, in ms, or before; one without a date is as old as can be.
 * Rejects with McpRunError where one can't be read.
 */
export async function oldEnough(
  targets: readonly Target[],
  since: number,
  signal: AbortSignal,
): Promise<readonly Target[]> {
  const isOld = await Promise.all(
    targets.map(async ({ ref, store, own }) => {
      // To read a lease would be to make one; they are as old as whoever has them.
      if (own && !isLive(own)) return true;
      const present = await (own ?? store).read(signal).catch((error: unknown) => {
        throw aboutTarget(ref, error);
      });
      return (present?.createdAt?.getTime() ?? 0) <= since;
    }),
  );
  return targets.filter((_target, index) => isOld[index]);
}

/**
 * Key Vault has no check-and-set: two writers who both saw that they may write, write both. So each looks again
 * afterwards, and the same rule makes one of them the winner and the others step back:
 *
 * 1. Who sees nobody else's new version has won: whoever comes later sees ours.
 * 2. Who sees one, and whose own is no longer the latest, withdraws.
 * 3. Who sees one, and whose own is the latest, waits for the others to do so (2). Those that don't were done
 *    before we came (1), or are no mcp-run; then we withdraw.
 *
 * «Latest» is what the service hands out, since its times have whole seconds. All of it holds only as far as the
 * service shows at once what was written.
 */
import { type Clock, pause } from "../../src/clock.ts";
import type { StoredVersion } from "./stored-version.ts";

/** Ms that the others are waited for; each of them has one or two requests to make. */
const PATIENCE_MS = 3_000;
const FIRST_LOOK_MS = 50;

export interface Contest {
  /** The enabled versions that others have written meanwhile. */
  others(): Promise<readonly StoredVersion[]>;
  /** True if ours is what the service hands out. */
  isLatest(): Promise<boolean>;
}

/** The version before which ours has to withdraw; undefined if ours has won. */
export async function winnerBefore(
  { others, isLatest }: Contest,
  clock: Clock,
  signal: AbortSignal,
): Promise<StoredVersion | undefined> {
  const [seen] = await others();
  if (!seen || !(await isLatest())) return seen;
  const startedAt = clock.monotonic();
  for (let delay = FIRST_LOOK_MS; ; delay *= 2) {
    await pause(clock, delay, signal);
    const [still] = await others();
    if (!still || clock.monotonic() - startedAt >= PATIENCE_MS) return still;
  }
}

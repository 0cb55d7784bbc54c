/** A program of `exec` can't be given another value: `status` and a rotation are to know that it has the old one. */
import { beSeen } from "./be-seen.ts";
import type { OpenControl } from "./control.ts";
import type { Supervised } from "./supervisor-status.ts";

/** Ms; what is over sooner pays nothing for being seen. */
const LASTS_MS = 250;

/** @param pid of the program. The returned function is to be awaited when it has ended; it never rejects. */
export function seenWhenItLasts({
  pid,
  ...known
}: Pick<Supervised, "context" | "profile" | "inUse" | "needles"> & {
  readonly pid: number;
}): () => Promise<void> {
  const { clock } = known.context;
  const startedAt = clock.now();
  let seen: Promise<OpenControl | undefined> | undefined;
  const timer = clock.after(
    LASTS_MS,
    () => {
      seen = beSeen({
        ...known,
        mode: "exec",
        refreshing: {
          server: { pid, generation: 1 },
          outlook: { isLooking: false },
          now: async () => undefined,
        },
        control: { client: () => ({}), state: () => "running" },
        tally: { restarts: 0, leaks: 0 },
        startedAt,
      });
    },
    { background: true },
  );
  return async () => {
    timer.cancel();
    await (await seen)?.close();
  };
}

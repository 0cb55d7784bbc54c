/** What a supervisor says of itself and of its secrets. */
import type { Said, Standing } from "./entry-watch.ts";
import { type Report, writeReport } from "./messages.ts";

export interface BusSecret {
  /** busKey of it. */
  readonly key: string;
  /** For people. */
  readonly ref: string;
  readonly version?: string;
  /** See realmOf. */
  readonly realm?: string | undefined;
}

export interface Reporter {
  readonly host: string;
  readonly pid: number;
  readonly profile: string;
  /** See Report. */
  readonly pidSpace?: string;
  /** What the server that serves has now, less what no other machine has (isOfOneMachine). */
  readonly secrets: () => readonly BusSecret[];
  readonly standing: () => Standing;
}

/** What has come of the last entry for a secret, and when that was put: wall-clock ms, 0 for none. */
export interface Followed {
  readonly said: Said;
  readonly heardOf: number;
}

/** The bytes of a report. */
export function memberReport(
  { host, pid, profile, pidSpace, secrets, standing }: Reporter,
  followed: (busKey: string) => Followed | undefined,
  life: Pick<Report, "instance" | "state" | "call" | "hold">,
): string {
  const { generation, era, mode } = standing();
  // What was put last is asked after: of the others there may be no room to say much.
  const heardOf = ({ key }: BusSecret) => followed(key)?.heardOf ?? 0;
  const latestFirst = [...secrets()].sort((a, b) => heardOf(b) - heardOf(a));
  const said = latestFirst.map(({ key, ref, version, realm }) => ({
    key,
    ref,
    ...(version !== undefined && { version }),
    ...(realm !== undefined && { realm }),
    ...(followed(key)?.said ?? { state: "idle" as const }),
  }));
  const known = { v: 1 as const, host, pid, profile, generation, era, mode };
  return writeReport({
    ...known,
    ...life,
    ...(pidSpace !== undefined && { pidSpace }),
    secrets: said,
  });
}

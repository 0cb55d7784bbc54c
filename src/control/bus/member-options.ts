/** What a supervisor on the bus is given, and how it stands there. */
import type { BusOptions } from "./connect.ts";
import type { IsOld } from "./entry-watch.ts";
import type { HoldingForBus } from "./hold-calls.ts";
import type { Lack } from "./lack.ts";
import type { Reporter } from "./member-report.ts";
import type { Entry } from "./messages.ts";

export interface BusMemberOptions extends BusOptions, Reporter {
  /** The name of this life, of one who comes back with other credentials; without it a new one. */
  readonly instance?: string;
  /** Of the value that the serving server has (busFingerprint), or of fields of it (jointFingerprint). */
  readonly fingerprint: (busKey: string, key: Buffer, ways: Entry["ways"]) => string | undefined;
  /** See EntryWatchOptions; without it nothing is had by a lease. */
  readonly leases?: (busKey: string) => readonly string[] | undefined;
  /**
   * A look, limited by the owner; resolves when it has ended, whichever way.
   *
   * @param isOld where this secret is had by such a lease, another one is to be taken
   */
  readonly look: (busKey: string, isOld?: IsOld) => Promise<void>;
  /** Without it nobody can ask for that. */
  readonly holding?: HoldingForBus;
  readonly onState: (state: BusState) => void;
}

/** Times are wall-clock ms. */
export type BusState =
  | { readonly id: "connecting"; readonly since: number }
  | { readonly id: "connected"; readonly since: number; readonly server: string; readonly lacks?: Lack }
  | { readonly id: "reconnecting"; readonly since: number; readonly reason: string }
  /** Somebody has to mend something; it tries again all the same. */
  | { readonly id: "refused"; readonly since: number; readonly reason: string; readonly hint?: string }
  | { readonly id: "closed" };

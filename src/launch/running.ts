/** One server of a supervisor: its process, its streams and its number, from the start until nothing is left. */
import type { ServerLine } from "../relay/own-request.ts";
import type { ExitStatus } from "./exit-status.ts";
import type { Generation } from "./generation.ts";

export interface Running {
  readonly number: number;
  readonly generation: Generation;
  readonly line: ServerLine;
  /** When it took over; before that, when it was started. Ms on a steady clock. */
  servesSince: number;
  /** Nobody is to be surprised that it ends. */
  isDismissed: boolean;
  /** Resolves when its process is gone and everything that it said has been dealt with. */
  ended: Promise<ExitStatus>;
}

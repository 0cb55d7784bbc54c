/** What a supervisor lets those do who put another server in the place of the current one. */
import type { Running } from "./running.ts";
import type { LaunchPlan } from "./spawn.ts";

export interface Helm {
  /** Undefined while there is no server that the client's requests could go to. */
  readonly current: Running | undefined;
  /** Aborted: no server is started, and none takes over any more. */
  readonly stopped: AbortSignal;
  /** The number of the server that is started next. */
  readonly nextNumber: number;
  /** Rejects with McpRunError, or with ReplaceError if the session ends; the plan is released then. */
  start(plan: LaunchPlan): Promise<Running>;
  /** Resolves once it has taken over. Rejects with ReplaceError; then it is being stopped, and nothing has changed. */
  install(next: Running, reason: "replaced" | "restarted"): Promise<void>;
}

/** How a program ended, and the exit code of mcp-run that says so. */
import { constants } from "node:os";

export type ExitStatus =
  | { readonly type: "exited"; readonly code: number }
  | { readonly type: "signalled"; readonly signal: NodeJS.Signals };

/** The program's own code, or 128 + the number of the signal that ended it, as shells do (POSIX 2.8.2). */
export function exitCodeOf(status: ExitStatus): number {
  return status.type === "exited" ? status.code : 128 + constants.signals[status.signal];
}

/** From the two arguments of Node's `exit` event, of which exactly one is set. */
export function exitStatusOf(code: number | null, signal: NodeJS.Signals | null): ExitStatus {
  return signal === null ? { type: "exited", code: code ?? 0 } : { type: "signalled", signal };
}

/** For people. */
export function wordsFor(status: ExitStatus): string {
  return status.type === "exited" ? `exit code ${status.code}` : status.signal;
}

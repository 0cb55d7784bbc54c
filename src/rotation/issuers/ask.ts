/** What a person at the terminal is asked; `src/ui` does the asking. */
import type { Secret } from "../../secrets/secret.ts";

export interface Ask {
  /** Shows a line. */
  tell(line: string): void;
  /** Reads a value that is not shown. Rejects with McpRunError where nothing is entered. */
  secret(question: string, signal: AbortSignal): Promise<Secret>;
  /** Yes or no. */
  confirm(question: string, signal: AbortSignal): Promise<boolean>;
  /** What tells one value from another without showing it. */
  fingerprint(value: Secret): string;
}

/** A profile after reading, merging, expanding and validating: what the rest of mcp-run works with. */
import type { ProviderEntry, SecretSpec, SecretsFromSpec } from "../secrets/spec.ts";

export interface Profile {
  readonly name: string;
  /** The file it came from; for messages. */
  readonly file: string;
  readonly description?: string;
  readonly command: string;
  /** `{{NAME}}` still in them, for the names in `secretsInArgs`. */
  readonly args: readonly string[];
  /** Absolute; undefined for the launcher's own. */
  readonly cwd?: string;
  /** Plain values, `${VAR}` already expanded. */
  readonly env: Readonly<Record<string, string>>;
  /** Names besides the default list. */
  readonly inheritEnv: readonly string[] | "none" | "all";
  readonly secrets: readonly SecretSpec[];
  readonly secretsFrom: readonly SecretsFromSpec[];
  /** Names of secrets that may stand as {{NAME}} in `args`. */
  readonly secretsInArgs: readonly string[];
  readonly stopGraceMs: number;
  /** Longest line that is relayed, in bytes. */
  readonly maxLineBytes: number;
  /** Ms that a backend may take. */
  readonly fetchTimeoutMs: number;
  /** Ms for which the last good secrets may stand in for a backend out of reach; undefined for not at all. */
  readonly cacheMaxAgeMs?: number;
  /** Names that stand in a `${…}` of this profile or of the providers that it uses. */
  readonly variablesUsed: readonly string[];
  /** Every entry under `providers:` of the file, by name; those that this profile uses are validated. */
  readonly providers: ReadonlyMap<string, ProviderEntry>;
}

/** A profile after reading, merging, expanding and validating: what the rest of mcp-run works with. */
import type { Probe } from "../relay/probe.ts";
import type { ProviderEntry, Ref, SecretSpec, SecretsFromSpec } from "../secrets/spec.ts";

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
  readonly refresh: RefreshPlan;
  /** Proves that a new server works before it serves; without it only the handshake does. */
  readonly probe?: Probe;
  /** What becomes of a server that ends by itself once a client has had an answer. */
  readonly onCrash: "restart" | "exit";
  /** What becomes of a secret that the server tells the client. */
  readonly stdout: "off" | "warn" | "redact";
  /** What it is for, if it says so. */
  readonly environment?: "development" | "test" | "staging" | "production";
  readonly audit: AuditPlan;
  /** The bus of the file, where it has one. The server knows nothing of it. */
  readonly fleet?: FleetSettings;
  /** Names that stand in a `${…}` of this profile or of the providers that it uses. */
  readonly variablesUsed: readonly string[];
  /** Every entry under `providers:` of the file, by name; those that this profile uses are validated. */
  readonly providers: ReadonlyMap<string, ProviderEntry>;
}

/** How the supervisors of several machines hear of new values. */
export interface FleetSettings {
  /** `tls://HOST:4222`, `nats://127.0.0.1` */
  readonly servers: readonly string[];
  /** Who a supervisor is on the bus. */
  readonly credentials: Ref;
  /** Who a person is there that rotates or asks for the status; `credentials` without it. */
  readonly operator?: Ref;
  readonly inventory?: Inventory;
  /** The name of this machine on the bus; the system's own without it. */
  readonly host?: string;
  /** Path of a PEM file. */
  readonly ca?: string;
}

/** Which hosts there should be. */
export type Inventory =
  | { readonly type: "hosts"; readonly hosts: readonly string[] }
  /** One host a line; `#` begins a comment. */
  | { readonly type: "file"; readonly path: string };

/** When the secrets are looked at again, besides when a lease or a value ends, and what a change leads to. */
export interface RefreshPlan {
  readonly everyMs?: number;
  readonly cron?: { readonly line: string; readonly timezone?: string };
  /** How another server takes the place of the one with the old values; `never` only reports. */
  readonly restart: "overlap" | "sequential" | "never";
  /** Ms that the old server may take to finish its work. */
  readonly drainMs: number;
  /** Sent instead of a restart where all that changed is delivered by file. */
  readonly signal?: RefreshSignal;
}

export interface AuditPlan {
  /** `metadata`: a record of each tool call. */
  readonly calls: "off" | "metadata";
  /** Days for which its files are kept. */
  readonly keptDays: number;
  readonly export?: ExportPlan;
}

export interface ExportPlan {
  /** Without a slash at its end: `/v1/logs` and `/v1/metrics` are below it. */
  readonly otlp: string;
  /** `{{NAME}}` still in them, for secrets of the profile. */
  readonly headers: readonly HeaderTemplate[];
}

export interface HeaderTemplate {
  readonly name: string;
  readonly template: string;
  /** The secrets in it. */
  readonly needs: readonly string[];
}

export type RefreshSignal = "SIGHUP" | "SIGUSR1" | "SIGUSR2";

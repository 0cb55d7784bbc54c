/**
 * Variables that hold the credentials with which secrets are fetched: Vault, AWS, Azure, 1Password, CI
 * identity tokens, and our own. They are for mcp-run and never for the program that it starts, unless the
 * profile sets one by name under `env` or `secrets`. Design.md section 6; pinned by a test.
 */

const WITHHELD_PREFIXES = [
  "VAULT_",
  "BAO_",
  "AWS_CONTAINER_",
  "AWS_WEB_IDENTITY_",
  "ACTIONS_ID_TOKEN_",
  "CI_JOB_JWT",
  "OP_",
  "MCP_RUN_",
] as const;

const WITHHELD_NAMES: ReadonlySet<string> = new Set([
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_SECURITY_TOKEN",
  "AWS_BEARER_TOKEN_BEDROCK",
  "AZURE_CLIENT_SECRET",
  "AZURE_CLIENT_CERTIFICATE_PATH",
  "AZURE_CLIENT_CERTIFICATE_PASSWORD",
  "AZURE_USERNAME",
  "AZURE_PASSWORD",
  "AZURE_FEDERATED_TOKEN",
  "AZURE_FEDERATED_TOKEN_FILE",
  "IDENTITY_HEADER",
  "MSI_SECRET",
]);

/** By these a service speaks to systemd: a server that had them could say that we are well. `env` can pass them on. */
export const SUPERVISION_NAMES = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] as const;

/** On Windows whatever its case. */
export function isCredentialName(name: string, platform: NodeJS.Platform): boolean {
  const known = platform === "win32" ? name.toUpperCase() : name;
  return WITHHELD_NAMES.has(known) || WITHHELD_PREFIXES.some((prefix) => known.startsWith(prefix));
}

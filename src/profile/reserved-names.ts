/** The words of the command line: `mcp-run check` must never be a question of which one is meant. */
export const RESERVED_PROFILE_NAMES: readonly string[] = [
  "run",
  "exec",
  "check",
  "rotate",
  "status",
  "secrets",
  "init",
  "import",
  "login",
  "logout",
  "audit",
  "schema",
  "completion",
  "help",
];

/** What a profile may be called: nothing that could be taken for a path or an option. */
export const PROFILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

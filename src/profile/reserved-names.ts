/** What stands where a profile's name could stand. */
export const COMMANDS: readonly string[] = [
  "run",
  "exec",
  "check",
  "status",
  "secrets",
  "audit",
  "fleet",
  "init",
  "schema",
  "help",
];

/** `mcp-run check` must never be a question of which one is meant: also for the commands of later versions. */
export const RESERVED_PROFILE_NAMES: readonly string[] = [
  ...COMMANDS,
  "rotate",
  "import",
  "login",
  "logout",
  "completion",
];

/** What a profile may be called: nothing that could be taken for a path or an option. */
export const PROFILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

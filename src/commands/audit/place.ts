import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { CommandContext } from "../context.ts";

/** Where the audit of this user is, and on which machine. */
export function auditPlace({ paths }: CommandContext): { readonly folder: string; readonly host: string } {
  return { folder: join(paths.state, "audit"), host: hostname() };
}

/** False where there is no home: as everywhere, one that does not exist is not made. */
export function hasAudit({ env, home }: CommandContext): boolean {
  return Boolean(env.MCP_RUN_HOME) || existsSync(home);
}

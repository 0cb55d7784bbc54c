/** How a command writes to the audit of its user. */
import { version } from "../../../package.json";
import { AuditLog } from "../../audit/log.ts";
import { type McpRunError, systemErrorCode } from "../../errors.ts";
import { fingerprints } from "../../secrets/fingerprint.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { CommandContext } from "../context.ts";
import { auditPlace } from "./place.ts";

/**
 * @param onTrouble called once, at the first record that can't be written
 * @param keptDays what the profile says, where there is one
 */
export function auditLog(
  context: CommandContext,
  onTrouble: (error: McpRunError) => void,
  keptDays?: number,
): AuditLog {
  const { clock, uid, loginName } = context;
  return new AuditLog({
    ...auditPlace(context),
    user: loginName(),
    pid: process.pid,
    uid,
    version,
    clock,
    keptDays,
    onTrouble,
  });
}

/** Tells values apart in the audit, with the key of this machine. Undefined where there can be no key. */
export function valueFingerprint({ paths }: CommandContext): ((value: Secret) => string) | undefined {
  try {
    const fingerprint = fingerprints(paths.state);
    return (value) => fingerprint({ secret: value.reveal() });
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}

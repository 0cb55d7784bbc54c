/** Where the audit is sent besides: nothing of it is loaded before somebody asks, and the files do not depend on it. */
import { systemErrorCode } from "../../errors.ts";
import type { CommandContext } from "../context.ts";
import type { AuditExport } from "./exporting.ts";

/** Undefined where it can't be made, after a warning. Never rejects. */
export async function openExport(
  { printer }: Pick<CommandContext, "printer">,
  make: () => Promise<AuditExport | undefined>,
): Promise<AuditExport | undefined> {
  try {
    return await make();
  } catch (error) {
    const message = `the audit is not sent: ${systemErrorCode(error) ?? "a bug in mcp-run"}`;
    printer.emit({ type: "warning", message });
    return undefined;
  }
}

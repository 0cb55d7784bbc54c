/** What runs is to be seen by `status`, and by a rotation; but nothing is kept from running for its sake. */
import { McpRunError, systemErrorCode } from "../../errors.ts";
import type { OpenControl } from "./control.ts";
import type { Supervised } from "./supervisor-status.ts";

/**
 * To be called only now that the program runs: no start waits for what others may want to know of it. Never rejects:
 * where there can be no socket, a warning says so.
 */
export async function beSeen(supervised: Supervised): Promise<OpenControl | undefined> {
  try {
    const { openControl } = await import("./control.ts");
    return await openControl(supervised);
  } catch (error) {
    const isExpected = error instanceof McpRunError;
    const reason = isExpected ? error.message : (systemErrorCode(error) ?? "a bug in mcp-run");
    const what = supervised.mode === "exec" ? "program" : "server";
    const message = `mcp-run status will not show this ${what}: ${reason}`;
    const hint = isExpected ? error.hint : undefined;
    supervised.context.printer.emit({ type: "warning", message, ...(hint && { hint }) });
    return undefined;
  }
}

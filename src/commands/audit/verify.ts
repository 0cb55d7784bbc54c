/** `mcp-run audit verify`: whether the audit is what was written. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Anchor, parseAnchors } from "../../audit/head.ts";
import { verifyAudit } from "../../audit/verify.ts";
import { EXIT_CODES, McpRunError, systemErrorCode } from "../../errors.ts";
import { verdictText } from "../../ui/audit-lines.ts";
import type { CommandContext } from "../context.ts";
import { auditPlace } from "./place.ts";

/** Returns 0, or the exit code of an audit that is not what was written. Throws McpRunError if it can't be read. */
export async function verify(
  context: CommandContext,
  { against, json }: { readonly against?: string; readonly json?: boolean },
): Promise<number> {
  const anchors = against === undefined ? undefined : anchorsIn(resolve(context.cwd, against));
  const verdict = await verifyAudit(auditPlace(context).folder, anchors, context.clock.now());
  const ok = verdict.problems.length === 0;
  const anchored = anchors?.length;
  context.stdout.write(
    json
      ? `${JSON.stringify({ version: 1, ok, ...(anchored !== undefined && { anchored }), ...verdict }, null, 2)}\n`
      : verdictText(verdict, anchored),
  );
  return ok ? 0 : EXIT_CODES["audit-invalid"];
}

function anchorsIn(file: string): readonly Anchor[] {
  try {
    return parseAnchors(readFileSync(file, "utf8"), file);
  } catch (error) {
    const code = systemErrorCode(error);
    if (error instanceof McpRunError || code === undefined) throw error;
    throw new McpRunError("usage", `Cannot read the anchors in ${file}: ${code}`, {
      hint: "a file that mcp-run audit head has written",
    });
  }
}

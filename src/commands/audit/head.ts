/** `mcp-run audit head`: how far the audit has come, for somebody to keep elsewhere. */
import { auditFiles } from "../../audit/files.ts";
import { type Anchor, formatAnchors } from "../../audit/head.ts";
import { verifyFile } from "../../audit/verify.ts";
import { McpRunError } from "../../errors.ts";
import type { CommandContext } from "../context.ts";
import { auditPlace } from "./place.ts";

/** Throws McpRunError `audit-invalid` after the anchors of the others if a file is not what was written. */
export async function head(context: CommandContext): Promise<number> {
  const { folder, host } = auditPlace(context);
  const anchors: Anchor[] = [];
  const broken: string[] = [];
  for (const name of await auditFiles(folder)) {
    const { end, problems } = await verifyFile(folder, name);
    // An anchor would make true what is not.
    if (problems.length > 0) broken.push(name);
    else if (end) anchors.push(end);
  }
  context.stdout.write(formatAnchors(anchors, host, context.clock.now()));
  if (broken.length === 0) return 0;
  throw new McpRunError(
    "audit-invalid",
    `Cannot print anchors of ${broken.join(", ")}: changed since written`,
    {
      hint: "mcp-run audit verify",
    },
  );
}

/** What to paste into an MCP client's config file. */
import type { CommandContext } from "./context.ts";

/**
 * Absolute paths of node and of the script: a client that was started from a desktop has no shell's PATH,
 * so neither `mcp-run` nor the `node` of its shebang line would be found.
 */
export function clientSnippet(
  { nodePath, scriptPath }: Pick<CommandContext, "nodePath" | "scriptPath">,
  profile: string,
  globalOptions: readonly string[] = [],
): string {
  return JSON.stringify(
    { mcpServers: { [profile]: { command: nodePath, args: [scriptPath, ...globalOptions, profile] } } },
    null,
    2,
  );
}

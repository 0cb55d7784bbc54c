/** Bare `mcp-run`: what to do next on this machine. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { listProfiles } from "../profile/load.ts";
import { formatTable } from "../ui/table.ts";
import { clientSnippet } from "./client-snippet.ts";
import type { CommandContext } from "./context.ts";
import { profileRequest } from "./profile-request.ts";

export async function welcome(context: CommandContext): Promise<number> {
  const request = profileRequest(context);
  const profiles = await listProfiles(request);
  const [first] = profiles;
  // What is shown has to find the same profile again, from whatever folder the client starts it in.
  const options = request.configFile === undefined ? [] : ["--config", resolve(context.cwd, request.configFile)];
  const lines = first
    ? [
        "Profiles on this machine:",
        "",
        formatTable(profiles.map(({ name, description, file }) => [`  ${name}`, description ?? "", file])),
        "Next:",
        `  mcp-run check --start ${first.name}`,
        "",
        "In an MCP client's config file:",
        clientSnippet(context, first.name),
      ]
    : [
        "mcp-run starts MCP servers with their secrets. There is no profile on this machine yet.",
        "",
        "Next:",
        "  mcp-run init            lists the ready-made profiles",
        "  mcp-run init github     writes one, and says how to go on",
        "  mcp-run --help          shows every command",
      ];
  context.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

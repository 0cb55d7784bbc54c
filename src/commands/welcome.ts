/** Bare `mcp-run`: what to do next on this machine. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { listProfiles } from "../profile/load.ts";
import { formatTable } from "../ui/table.ts";
import { clientSnippet } from "./client-snippet.ts";
import type { CommandContext } from "./context.ts";
import { profileRequest } from "./profile-request.ts";

export async function welcome(context: CommandContext): Promise<number> {
  const profiles = await listProfiles(profileRequest(context));
  const [first] = profiles;
  // A client has neither our working directory nor our variables: it needs the file's whole path.
  const isNamed = (context.options.config ?? context.env.MCP_RUN_CONFIG) !== undefined;
  const options = isNamed && first ? ["--config", first.file] : [];
  const lines = first
    ? [
        isNamed ? "Profiles in that file:" : "Profiles on this machine:",
        "",
        formatTable(profiles.map(({ name, description, file }) => [`  ${name}`, description ?? "", file])),
        "Next:",
        `  ${["mcp-run", ...options, "check", "--start", first.name].join(" ")}`,
        "",
        "In an MCP client's config file:",
        clientSnippet(context, first.name, options),
      ]
    : [
        "mcp-run starts MCP servers with their secrets. There is no profile on this machine yet.",
        "",
        "Next:",
        "  mcp-run init            lists the ready-made profiles",
        "  mcp-run init github     writes one, and says how to go on",
        "  mcp-run --help          shows every command",
      ];
  if (!isNamed && existsSync(join(context.cwd, "mcp-run.yaml"))) {
    lines.push(
      "",
      "The mcp-run.yaml of this folder is not used by itself. If you trust it:",
      "  mcp-run --config ./mcp-run.yaml check --offline",
    );
  }
  context.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

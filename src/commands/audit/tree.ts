/** The command tree below `mcp-run audit`. */
import { type Command, Option } from "commander";
import { AUDIT_EVENTS } from "../../audit/record.ts";
import { type Does, examples } from "../tree.ts";
import type { AuditListOptions } from "./list.ts";

export function addAuditCommands(audit: Command, does: Does): void {
  audit.addHelpText(
    "after",
    examples([
      "mcp-run audit --since 24h",
      "mcp-run audit --secret vault:mcp/github#token --json",
      "mcp-run audit head > anchors.txt",
      "mcp-run audit verify --against anchors.txt",
    ]),
  );
  audit
    .command("list", { isDefault: true })
    .description("print what has happened, the newest last (the default)")
    .option("--profile <name>", "only of this profile")
    .option("--secret <name>", "only of this secret: its name, or its ref")
    .addOption(new Option("--event <event>", "only of this kind").choices(AUDIT_EVENTS))
    .option("--since <when>", "only from then on: 24h, 7d, 2026-11-21, 2026-11-21T14:30Z")
    .option("--limit <n>", "only the newest")
    .option("--json", "print each record as a line of JSON")
    .addHelpText(
      "after",
      examples(["mcp-run audit --since 24h", "mcp-run audit --profile github --event leak --json"]),
    )
    .action(
      does(
        (options: AuditListOptions) => async (context) =>
          (await import("./list.ts")).listAudit(context, options),
      ),
    );
  audit
    .command("verify")
    .description("find what was changed, removed, moved or cut off since it was written")
    .option("--against <file>", "anchors that mcp-run audit head has printed before")
    .option("--json", "print the result as JSON")
    .addHelpText("after", examples(["mcp-run audit verify", "mcp-run audit verify --against anchors.txt"]))
    .action(
      does(
        (options: { against?: string; json?: boolean }) => async (context) =>
          (await import("./verify.ts")).verify(context, options),
      ),
    );
  audit
    .command("head")
    .description("print the anchors of all files, to be kept where nobody who can write here can write")
    .addHelpText("after", examples(["mcp-run audit head > anchors.txt"]))
    .action(does((_options: object) => async (context) => (await import("./head.ts")).head(context)));
}

/** The flags of `mcp-run rotate`. */
import type { Command } from "commander";
import { type Does, examples } from "../tree.ts";
import type { RotateOptions } from "./options.ts";

export function addRotateOptions(rotate: Command, does: Does): void {
  const each = (name: string, names: readonly string[] = []) => [...names, name];
  rotate
    .argument("<profile>", "name of a profile, or the path of its file")
    .option("--reason <text>", "why; it stands in the record")
    .option("--secret <name>", "which secret of the profile; may be given again", each)
    .option("--all", "every secret that has `rotate` in the profile")
    .option("--mint", "a new value from where the profile says (the default)")
    .option("--generate", "a new random value of 256 bits, whatever the profile says")
    .option("--from-stdin", "a new value that was made elsewhere")
    .option("--revoke-first", "under active abuse: revoke the old key before the new one serves")
    .option("--missing-ok <hosts>", "go on without these, separated by commas; '*' for any")
    .option("--at-once", "tell a whole fleet at once, instead of a few first")
    .option("--ack-timeout <time>", "how long servers have to take the new value", "60s")
    .option("--if-older-than <age>", "only what is older, for cron and timers")
    .option("--yes", "ask nothing; what can't be answered is left undone")
    .option("--dry-run", "every read, and no write")
    .option("--report <file>", "write an incident report in Markdown")
    .option("--resume <id>", "go on with a rotation that was cut off")
    .option("--rollback <id>", "put the old value back, as long as it is not revoked")
    .option("--take-over <id>", "give up the candidate of another rotation")
    .addHelpText(
      "after",
      examples([
        'mcp-run rotate github --reason "leaked in build log"',
        'mcp-run rotate github --secret GITHUB_TOKEN --from-stdin --yes --reason "laptop lost" < new-token',
        'mcp-run rotate github --dry-run --reason "drill"',
        "mcp-run rotate github --all --if-older-than 90d --yes --reason scheduled",
        "mcp-run rotate github --resume 20261121-093015-k3x9ab",
      ]),
    )
    .action(
      does(
        (profile: string, options: RotateOptions) => async (context) =>
          (await import("../rotate.ts")).rotateSecrets(context, profile, options),
      ),
    );
}

/** The command tree below `mcp-run fleet`. */
import type { Command } from "commander";
import { type Does, examples } from "../tree.ts";
import type { PermissionsOptions } from "./permissions.ts";

export function addFleetCommands(fleet: Command, does: Does): void {
  fleet.addHelpText(
    "after",
    examples([
      "mcp-run fleet setup --replicas 3",
      "mcp-run fleet permissions github --host web-1",
      "mcp-run fleet permissions --operator",
    ]),
  );
  fleet
    .command("setup")
    .description("make what the bus keeps on its servers, or bring it up to date; safe to run again")
    .option("--replicas <n>", "how many servers of a cluster keep a copy: 1, 3 or 5")
    .addHelpText("after", examples(["mcp-run fleet setup", "mcp-run fleet setup --replicas 3"]))
    .action(
      does(
        (options: { replicas?: string }) => async (context) =>
          (await import("./setup.ts")).setUpFleet(context, options),
      ),
    );
  fleet
    .command("permissions")
    .description("print what a host has to be allowed, for the configuration of nats-server")
    .argument("[profile...]", "every profile that the host runs")
    .option("--host <name>", "which host; by default this one")
    .option("--operator", "of whoever rotates and asks for the status")
    .addHelpText(
      "after",
      examples(["mcp-run fleet permissions github --host web-1", "mcp-run fleet permissions --operator"]),
    )
    .action(
      does(
        (profiles: string[], options: PermissionsOptions) => async (context) =>
          (await import("./permissions.ts")).printPermissions(context, profiles, options),
      ),
    );
}

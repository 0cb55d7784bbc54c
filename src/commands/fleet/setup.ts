/** `mcp-run fleet setup`: what the bus keeps on its servers. */
import { McpRunError } from "../../errors.ts";
import { NeedleSet } from "../../scrub/needle-set.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import { type CommandContext, interruptible } from "../context.ts";
import { loadFleet } from "./load-fleet.ts";
import { connectOperator } from "./operator.ts";

const REPLICAS = ["1", "3", "5"];

/** Returns 0. Throws McpRunError. */
export async function setUpFleet(
  context: CommandContext,
  { replicas }: { readonly replicas?: string },
): Promise<number> {
  if (replicas !== undefined && !REPLICAS.includes(replicas)) {
    throw new McpRunError("usage", `Cannot keep ${replicas} copies: they would not outlive a server`, {
      hint: "`--replicas 3` for a cluster of three",
    });
  }
  const fleet = await loadFleet(context);
  const needles = new NeedleSet();
  context.printer.scrubWith((text) => scrubText(text, needles));
  return interruptible(context, async (signal) => {
    const operator = await connectOperator(context, fleet, needles, signal);
    try {
      const options = replicas === undefined ? {} : { replicas: Number(replicas) };
      const results = await operator.setUp(options, signal);
      for (const { name, done } of results) context.stdout.write(`${name}: ${done}\n`);
      return 0;
    } finally {
      await operator.close();
    }
  });
}
